"""Figures of what is believed before data: losses from the priors, and how far a law may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.style import ACCENT, INK, PALETTE, count_axis, sparsity_axis, styled

LABELS = {"params": "parameters N", "tokens": "tokens D", "sparsity": "sparsity S"}


@styled
def prior_curves(
    columns: Sequence[str],
    grids: Sequence[np.ndarray],
    losses_nats: Sequence[np.ndarray],
    observed: Sequence[np.ndarray],
    observed_nats: np.ndarray,
) -> Figure:
    """Losses that the priors imply along each column, the others at their middle, and the runs.

    columns: names; grids: one array [points] a column, sparsities as they are; losses_nats: [draws, points];
    observed [rows] a column and observed_nats [rows]: the runs, whatever their other columns.
    """
    figure = Figure(figsize=(2.5 * len(columns), 2.9), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, name, grid, losses, runs in zip(panels, columns, grids, losses_nats, observed, strict=True):
        x, dots = (-np.log2(1 - v) if name == "sparsity" else v for v in (grid, runs))
        low, high = np.quantile(losses, [0.05, 0.95], axis=0)
        axes.fill_between(x, low, high, color=ACCENT, alpha=0.16, linewidth=0, label="90 % of the prior")
        axes.plot(x, losses[:12].T, color=ACCENT, alpha=0.55, linewidth=0.8)
        axes.plot(dots, observed_nats, ".", color=INK, markersize=3.5, label="runs")
        axes.set_yscale("log")
        if name == "sparsity":
            sparsity_axis(axes, float(x.max()))
            axes.set_xlabel(LABELS[name])
        else:
            count_axis(axes, LABELS.get(name, name))
    ticks = (0.5, 1, 2, 3, 5, 8)
    panels[0].set_yticks(ticks, [f"{t:g}" for t in ticks], minor=False)
    panels[0].minorticks_off()
    panels[0].set_ylabel("loss (nats per byte)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


@styled
def misfit_growth(
    distance: np.ndarray,
    functions: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    fitted: tuple[float, float],
) -> Figure:
    """Random misfits along one direction, in percent of the loss, and the 90 % band of all.

    distance [points]: in standard deviations of the runs from their middle; functions [draws, points],
    low and high [points]: percent; fitted: where the runs end, in the same standard deviations.
    """
    figure = Figure(figsize=(5.2, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*fitted, color=PALETTE[4], alpha=0.18, linewidth=0, label="the runs")
    axes.fill_between(distance, low, high, color=ACCENT, alpha=0.16, linewidth=0, label="90 % of the prior")
    axes.plot(distance, functions.T, color=ACCENT, linewidth=0.9, alpha=0.8)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(distance[0], distance[-1])
    axes.set_xlabel("distance from the middle of the runs (standard deviations)")
    axes.set_ylabel("the law is off by (%)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
