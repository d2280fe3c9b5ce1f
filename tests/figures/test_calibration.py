"""Rank plots: a panel a quantity, and those that are not uniform stand out without colour."""

import numpy as np
from matplotlib.colors import to_hex

from moebook.bayes.uniformity import band
from moebook.figures import page
from moebook.figures.calibration import rank_plots
from moebook.figures.style import ACCENT

RNG = np.random.default_rng(0)
RANKS = {f"quantity {i}": RNG.integers(0, 100, 200) for i in range(5)}
RANKS["wrong"] = RNG.binomial(99, 0.5, 200)


def test_each_quantity_has_a_panel_with_its_line_and_band():
    figure = rank_plots(RANKS, 99, rejected=["wrong"])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [*list(RANKS)[:5], "✕ wrong"]
    low, high = band(200, 99)
    for axes, values in zip(shown, RANKS.values(), strict=True):
        z, difference = axes.lines[1].get_data()
        below = np.array([np.mean(values < rank) for rank in range(1, 100)])
        assert np.allclose(difference[1:-1], below - np.arange(1, 100) / 100)
        vertices = axes.collections[0].get_paths()[0].vertices
        assert vertices[:, 1].min() == low.min() and vertices[:, 1].max() == high.max()


def test_a_rejected_quantity_is_told_by_more_than_colour():
    figure = rank_plots(RANKS, 99, rejected=["wrong"])
    right, wrong = (axes.lines[1] for axes in (figure.axes[0], figure.axes[5]))
    assert (right.get_linestyle(), wrong.get_linestyle()) == ("-", "--")
    assert to_hex(right.get_color()) == ACCENT != to_hex(wrong.get_color())


def test_it_shows_on_a_page_of_any_colour():
    text = str(page.show(rank_plots(RANKS, 99), "rank plots"))
    assert "currentColor" in text and "#1a1a1a" not in text
