"""Rank plots of simulation-based calibration."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from moebook.bayes.uniformity import band, ecdf_difference
from moebook.figures.style import ACCENT, INK, PALETTE, styled

COLUMNS = 4
_WRONG = PALETTE[1]


@styled
def rank_plots(
    ranks: Mapping[str, np.ndarray],
    draws: int,
    rejected: Collection[str] = (),
    columns: int = COLUMNS,
    level: float = 0.05,
) -> Figure:
    """How far the ECDF of each quantity's ranks is from the diagonal, with the band of uniform ranks.

    ranks: {quantity: ranks [fits], each 0 .. draws}, a panel each. The band holds the whole line of a right
    posterior with probability 1 - level, for one quantity alone; `rejected` names those that are not uniform
    after correction for their number, drawn in another colour, broken, with a cross at the name.
    A hump says that truths lie lower than the posterior has them, a dip higher; up and then down, that the
    posterior is too narrow, down and then up, too wide.
    """
    rows = -(-len(ranks) // columns)
    figure = Figure(figsize=(1.85 * columns, 0.5 + 1.45 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, values) in zip(grid.flat, ranks.items(), strict=False):
        z, difference = ecdf_difference(values, draws)
        low, high = band(len(values), draws, level)
        axes.fill_between(z, low, high, color=INK, alpha=0.14, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.6)
        wrong = name in rejected
        axes.plot(
            z, difference, color=_WRONG if wrong else ACCENT, linewidth=1.4,
            linestyle="--" if wrong else "-",
        )  # fmt: skip
        axes.set_title(("✕ " if wrong else "") + textwrap.fill(name, 25), fontsize=8)
        axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axes.tick_params(labelsize=7.5)
    for axes in grid.flat[len(ranks) :]:
        axes.set_visible(False)
    for column in range(columns):  # the lowest panel of each column carries the ticks
        lowest = [axes for axes in grid[:, column] if axes.get_visible()]
        if lowest:
            lowest[-1].tick_params(labelbottom=True)
    figure.supxlabel("rank of the truth among posterior draws, as a share", fontsize=9)
    figure.supylabel("ECDF minus uniform", fontsize=9)
    return figure
