"""The figure of FLOP conventions draws the numbers that the counts give."""

import numpy as np
import pytest

from moebook.architecture import Family, counts
from moebook.architecture.conventions import PAPER_EQ_9, SIX_N
from moebook.figures import page
from moebook.figures.accounting import NAMES, convention_ratios, flops_conventions


def test_ratios_are_those_of_the_counts():
    found = convention_ratios(Family(), np.array([16, 64]), 0.75)
    assert set(found) == set(NAMES)
    for i, width in enumerate((16, 64)):
        member = counts(Family().config(width, 0.75))
        assert found[SIX_N][i] == pytest.approx(6 * member.params_active / member.flops_per_token)
        router = member.flop_terms["router"]
        assert found[PAPER_EQ_9][i] == pytest.approx(1 - router / member.flops_per_token)


def test_a_line_for_each_convention_and_sparsity_and_all_of_them_in_view():
    figure = flops_conventions(Family(), (0, 3 / 4), (16, 256))
    [axes] = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 2 * len(NAMES)
    found = [convention_ratios(Family(), lines[0].get_xdata(), s)[name] for s in (0, 3 / 4) for name in NAMES]
    assert all(np.allclose(line.get_ydata(), ratio) for line, ratio in zip(lines, found, strict=True))
    low, high = axes.get_ylim()
    assert all(low <= y.min() and y.max() <= high for y in found)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*NAMES.values(), "S = 0", "S = 3/4"]
    assert "currentColor" in page.svg(figure, "counts of FLOPs")


def test_more_sparsities_than_kinds_of_line_are_refused():
    with pytest.raises(ValueError):
        flops_conventions(Family(), (0, 0.5, 0.75, 0.875, 0.9375))
