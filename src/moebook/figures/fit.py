"""Figures of a fitted law: predictions against what was observed, and what the data taught each quantity."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.style import ACCENT, INK, PALETTE, new_figure, of_sparsity, sparsity_text, styled


@styled
def predictive_check(
    loss_nats: np.ndarray,
    low_nats: np.ndarray,
    middle_nats: np.ndarray,
    high_nats: np.ndarray,
    sparsity: np.ndarray,
) -> Figure:
    """What each run's loss was, minus what the posterior predictive said, with its 90 % interval.

    All arrays have one entry a run; losses in nats per byte. Runs are ordered by their loss.
    """
    figure, axes = new_figure(5.2, 3.2)
    looks = of_sparsity([float(s) for s in sparsity])
    order = np.argsort(middle_nats)
    loss_nats, low_nats, middle_nats, high_nats, sparsity = (
        np.asarray(values, dtype=float)[order]
        for values in (loss_nats, low_nats, middle_nats, high_nats, sparsity)
    )
    axes.vlines(
        middle_nats, 1000 * (low_nats - middle_nats), 1000 * (high_nats - middle_nats),
        color=INK, alpha=0.22, linewidth=2,
    )  # fmt: skip
    for value in sorted(set(sparsity)):
        chosen = sparsity == value
        color, marker = looks[float(value)]
        axes.plot(
            middle_nats[chosen], 1000 * (loss_nats - middle_nats)[chosen], marker, color=color, markersize=4,
            label=f"S = {sparsity_text(float(value))}",
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("predicted loss (nats per byte)")
    axes.set_ylabel("observed minus predicted\n(thousandths of a nat per byte)")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def contraction(shares: Mapping[str, float], threshold: float = 0.5) -> Figure:
    """How much narrower the posterior of each quantity is than its prior: 1 - sd(posterior)/sd(prior).

    shares: name to contraction, at most 1; what lies under `threshold` is drawn hatched, as decided by the
    prior.
    """
    figure, axes = new_figure(5.2, 0.7 + 0.32 * len(shares))
    ordered = sorted(shares.items(), key=lambda item: item[1])
    for row, (_, value) in enumerate(ordered):
        learnt = value >= threshold
        axes.barh(
            row, max(value, 0), color=ACCENT if learnt else PALETTE[4], hatch="" if learnt else "///",
            edgecolor=INK, linewidth=0.3,
        )  # fmt: skip
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("contraction, 1 − sd(posterior)/sd(prior)")
    return figure
