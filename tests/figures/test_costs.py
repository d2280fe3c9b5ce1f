"""The figures of what sparsity costs draw the numbers that they are given."""

import numpy as np
import pytest

from moebook.figures import costs, page


def lines(figure):
    [axes] = figure.axes
    return {line.get_label(): line for line in axes.lines}


def test_a_step_is_drawn_over_the_dense_one_and_all_of_it_is_in_view():
    figure = costs.times_by_experts(
        [1, 8, 64], [1, 1.01, 1.05], {"ours": [1, 1.2, 1.4], "peer": [1.5, 1.7, 3]}
    )
    drawn = lines(figure)
    assert list(drawn["FLOPs"].get_ydata()) == [1, 1.01, 1.05]
    assert list(drawn["peer"].get_ydata()) == [1.5, 1.7, 3] and list(drawn["ours"].get_xdata()) == [1, 8, 64]
    low, high = figure.axes[0].get_ylim()
    assert low == 0 and high > 3
    assert costs.times_by_experts([1, 8], [1, 1], {"ours": [1, 1]}, top=5).axes[0].get_ylim()[1] == 5


def test_feed_forwards_stand_from_the_top_in_the_order_given():
    figure = costs.feed_forwards(["many", "few"], [1.0, 1.9], [0.7, 2.5], [1.2, 2.4], [1.1, 2.0])
    drawn = lines(figure)
    assert list(drawn["ours"].get_xdata()) == [0.7, 2.5] and list(drawn["bar"].get_xdata()) == [1.1, 2.0]
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["many", "few"]
    bottom, top = axes.get_ylim()
    assert top < 0 < 1 < bottom and axes.get_xlim()[0] <= 0.7 and axes.get_xlim()[1] > 2.5


def test_a_width_keeps_its_colour_from_panel_to_panel():
    both = costs.slowdown_by_sparsity({16: ([0, 0.5], [1, 1.4]), 64: ([0, 0.75], [1, 1.6])}, [16, 64])
    one = costs.slowdown_by_sparsity({64: ([0, 0.75], [1, 1.6])}, [16, 64])
    assert lines(both)["width 64"].get_color() == lines(one)["width 64"].get_color()
    assert lines(both)["width 64"].get_color() != lines(both)["width 16"].get_color()
    assert np.allclose(lines(one)["width 64"].get_xdata(), [0, 2])


def test_memory_and_flops_of_a_width_share_a_colour():
    figure = costs.memory_by_sparsity([0, 0.5], {"d = 16": [1, 1.8]}, {"d = 16": [1, 1.01]})
    drawn = lines(figure)
    assert drawn["memory, d = 16"].get_color() == drawn["FLOPs, d = 16"].get_color()
    assert drawn["FLOPs, d = 16"].get_linestyle() == "--"
    assert list(drawn["memory, d = 16"].get_ydata()) == [1, 1.8]


@pytest.mark.parametrize(
    "figure",
    [
        costs.times_by_experts([1, 8], [1, 1], {"ours": [1, 1.2]}),
        costs.feed_forwards(["a"], [1], [1], [1], [1]),
        costs.slowdown_by_sparsity({16: ([0, 0.5], [1, 1.4])}, [16]),
        costs.memory_by_sparsity([0, 0.5], {"d = 16": [1, 1.8]}, {"d = 16": [1, 1.01]}),
    ],
)
def test_every_figure_follows_the_colour_of_the_page(figure):
    text = page.svg(figure, "what sparsity costs")
    assert "currentColor" in text and "#1a1a1a" not in text
    assert figure.axes[0].get_xlabel()
