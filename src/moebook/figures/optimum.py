"""Figures of the answer: optimal sparsity by budget, its claims as probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.live import doublings
from moebook.figures.style import ACCENT, INK, PALETTE, flops_axis, new_figure, sparsity_axis, styled


@styled
def sparsity_by_budget(
    compute_flops: Sequence[float],
    sparsity_star: np.ndarray,
    fitted: tuple[float, float],
    sparsity_top: float,
) -> Figure:
    """Posterior of the optimal sparsity against compute: median, 50 % and 90 % bands; beyond the runs it
    is shaded.

    compute_flops: B budgets (FLOPs); sparsity_star: [draws, B]; fitted: smallest and largest budget with
    runs.
    """
    figure, axes = new_figure(5.2, 3.7)
    low, lower, middle, upper, high = doublings(
        np.quantile(sparsity_star, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    )
    axes.fill_between(compute_flops, low, high, color=ACCENT, alpha=0.2, linewidth=0, label="90 % interval")
    axes.fill_between(
        compute_flops, lower, upper, color=ACCENT, alpha=0.35, linewidth=0, label="50 % interval"
    )
    axes.plot(compute_flops, middle, color=ACCENT, linewidth=2, label="median")
    top = float(doublings(sparsity_top))
    axes.axhline(top, color=INK, linestyle="--", linewidth=1, label="largest sparsity tried")
    flops_axis(axes)
    if compute_flops[-1] > fitted[1] * 1.001:
        axes.axvspan(fitted[1], compute_flops[-1], color=INK, alpha=0.07, linewidth=0, label="no runs")
    axes.set_xlim(compute_flops[0], compute_flops[-1])
    axes.set_ylim(-0.1, top * 1.05)
    sparsity_axis(axes, top, axis="y")
    axes.set_ylabel("optimal sparsity S*")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def claims(probabilities: Mapping[str, float]) -> Figure:
    """The posterior probability of each claim, from 0 (false) to 1 (true)."""
    figure, axes = new_figure(5.2, 0.7 + 0.34 * len(probabilities))
    for row, value in enumerate(probabilities.values()):
        axes.hlines(row, 0, value, color=ACCENT, linewidth=2)
        axes.plot(value, row, "o", color=PALETTE[1], markersize=7, markeredgecolor=INK, clip_on=False)
    axes.set_yticks(range(len(probabilities)), list(probabilities))
    axes.invert_yaxis()
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("posterior probability")
    return figure
