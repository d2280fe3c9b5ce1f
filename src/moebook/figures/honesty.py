"""Figures of how far a fit can be trusted: what it owes to its priors, and how its forecasts did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.style import ACCENT, INK, PALETTE, styled


@styled
def sensitivities(found: Mapping[str, Mapping[str, float]], threshold: float) -> Figure:
    """How far each quantity moves when the prior, or the likelihood, is weighted a little more.

    found: {quantity: {prior, likelihood: distance}}; below `threshold` it does not count.
    """
    figure = Figure(figsize=(5.2, 1.1 + 0.3 * len(found)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(found))[::-1]
    for name, color, marker in (("prior", PALETTE[1], "s"), ("likelihood", ACCENT, "o")):
        values = np.array([values[name] for values in found.values()])
        axes.plot(values, rows, marker, color=color, markersize=5.5, label=name)
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_yticks(rows, list(found))
    axes.set_xlabel("how far the answer moves (cumulative Jensen-Shannon distance)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def coverages(
    names: Sequence[str], model: np.ndarray, bootstrap: np.ndarray, levels: Sequence[float] = (0.5, 0.9)
) -> Figure:
    """What share of the held-out runs each table's intervals held, against the share that they promised.

    names: tables; model, bootstrap [tables, levels]: shares held.
    """
    figure = Figure(figsize=(6.8, 1.2 + 0.24 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(levels), sharey=True)
    rows = np.arange(len(names))[::-1]
    for axes, level, ours, theirs in zip(panels, levels, model.T, bootstrap.T, strict=True):
        axes.hlines(rows, theirs, ours, color=INK, alpha=0.25, linewidth=1)
        axes.plot(theirs, rows, "s", color=PALETTE[1], markersize=4.5, label="bootstrap with noise")
        axes.plot(ours, rows, "o", color=ACCENT, markersize=5.5, label="this book's forecasts")
        axes.axvline(level, color=INK, linestyle="--", linewidth=1)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        axes.set_title(f"{100 * level:.0f} % intervals")
    figure.supxlabel("share of runs inside", fontsize=9)
    panels[0].set_yticks(rows, list(names))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
