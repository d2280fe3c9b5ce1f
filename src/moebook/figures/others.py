"""Figures of the laws of other groups: how sure one may be of a coefficient, and what a law leaves over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from moebook.figures.style import INK, PALETTE, new_figure, styled

Interval = tuple[float, float, float]  # low end, middle, high end

LOOKS = ((PALETTE[1], "s"), (PALETTE[0], "o"), (PALETTE[2], "^"), (INK, "D"))
MARK = "D"


@styled
def intervals(
    labels: Sequence[str],
    series: Mapping[str, Sequence[Interval | None]],
    xlabel: str,
    marks: Mapping[str, Sequence[float | None]] | None = None,
    reference: tuple[float, str] | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
    width_inches: float = 4.8,
) -> Figure:
    """Intervals, a row a quantity, first on top; the intervals of a row one under the other.

    series: {name: (low, middle, high) a row, or None}; marks: {name: a single value a row, or None}, drawn as
    hollow diamonds; reference: (value, name) of a vertical line; limits: ends of the axis, to share it.
    """
    figure, axes = new_figure(width_inches, 1.35 + 0.4 * len(labels))
    if reference is not None:
        axes.axvline(reference[0], color=INK, linewidth=0.9, linestyle="--", label=reference[1] or None)
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * 0.3
    for (name, rows), (color, marker), offset in zip(series.items(), LOOKS, offsets, strict=False):
        known = [(i + offset, *row) for i, row in enumerate(rows) if row is not None]
        y, low, middle, high = np.array(known).T
        axes.hlines(y, low, high, color=color, linewidth=2)
        axes.plot(middle, y, marker, color=color, markersize=5, label=name)
    for name, values in (marks or {}).items():
        known = [(i, value) for i, value in enumerate(values) if value is not None]
        y, x = np.array(known).T
        axes.plot(x, y, MARK, color="none", markeredgecolor=INK, markersize=6, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(xlabel)
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled
def spreads(labels: Sequence[str], series: Mapping[str, Sequence[Sequence[float]]], xlabel: str) -> Figure:
    """Shares of the loss on a logarithmic axis, a row a table, first on top.

    series: {name: for each row its values, as shares; none where unknown}.
    """
    figure, axes = new_figure(5.2, 1.5 + 0.36 * len(labels))
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * 0.16
    for (name, rows), (color, marker), offset in zip(series.items(), LOOKS, offsets, strict=False):
        x = [value for values in rows for value in values]
        y = [i + offset for i, values in enumerate(rows) for _ in values]
        axes.plot(x, y, marker, color=color, markersize=5.5, alpha=0.85, markeredgewidth=0, label=name)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [m * 10.0**e for e in range(-6, 1) for m in (1, 3)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.4)
    return figure
