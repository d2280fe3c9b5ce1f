"""Figures of one fit's report: the runs, predictions against them, what is left over, prior and posterior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from moebook.figures.style import (
    ACCENT,
    INK,
    PALETTE,
    count_axis,
    flops_axis,
    new_figure,
    of_sparsity,
    sparsity_axis,
    sparsity_text,
    styled,
)

#: More marks than this make a page heavy and a figure black.
MOST_MARKS = 1000
LABELS = {
    "params": "parameters N", "params_active": "active parameters N_a", "tokens": "training tokens D",
    "compute_flops": "training compute C (FLOPs)", "sparsity": "sparsity S (even in doublings of E/K)",
    "experts": "experts E", "granularity": "granularity G",
    "params_nonembedding": "parameters N, no embeddings",
}  # fmt: skip
Groups = Sequence[float] | np.ndarray | None


@styled
def plane(
    x: np.ndarray, y: np.ndarray, x_name: str, y_name: str, sparsity: Groups = None, loss: bool = False
) -> Figure:
    """One quantity of the runs against another, a mark a run; y is a loss in nats if `loss`."""
    figure, axes = new_figure(4.4, 3.3)
    _marks(axes, _place(x_name, x), y if loss else _place(y_name, y), sparsity)
    _axis(axes, x_name, "x")
    if loss:
        axes.set_ylabel(y_name)
    else:
        _axis(axes, y_name, "y")
    _legend(figure, axes)
    return figure


@styled
def observed_against_predicted(
    loss_nats: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, sparsity: Groups = None
) -> Figure:
    """Each run's loss against its predictive median (nats), as the percentage between the two, with the
    90 % predictive interval as a bar; [runs]."""
    figure, axes = new_figure(4.4, 2.9)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.vlines(
        middle, 100 * np.log(low / middle), 100 * np.log(high / middle), color=INK, alpha=0.22, linewidth=2
    )
    _marks(axes, middle, 100 * np.log(loss_nats / middle), sparsity)
    axes.set_xlabel("predicted loss (nats)")
    axes.set_ylabel("observed over predicted (%)")
    _legend(figure, axes)
    return figure


@styled
def residuals(values: np.ndarray, name: str, percent: np.ndarray, sparsity: Groups = None) -> Figure:
    """What is left over of each run, in percent of its loss, along one quantity; [runs]."""
    figure, axes = new_figure(4.4, 2.7)
    axes.axhline(0, color=INK, linewidth=0.8)
    x = _place(name, values)
    _marks(axes, x, percent, sparsity if name != "sparsity" else None)
    _running_median(axes, x, percent)
    _axis(axes, name, "x")
    axes.set_ylabel("observed over predicted (%)")
    return figure


@styled
def prior_and_posterior(name: str, prior: np.ndarray, posterior: np.ndarray, logs: bool) -> Figure:
    """The prior (grey) and the posterior (blue) of one quantity, from draws, on an axis of logs if `logs`."""
    figure, axes = new_figure(2.6, 1.7)
    x, y = (np.log10(draws) if logs else np.asarray(draws) for draws in (prior, posterior))
    low, high = np.quantile(x, [0.005, 0.995])
    low, high = min(low, y.min()), max(high, y.max())
    fine = max(10, min(60, round(25 * (high - low) / max(np.ptp(y), (high - low) / 40))))
    for draws, bins, color, alpha in ((x, 40, INK, 0.25), (y, fine, ACCENT, 0.75)):
        heights, edges = np.histogram(draws, bins, (low, high), density=True)
        axes.stairs(heights, 10**edges if logs else edges, fill=True, color=color, alpha=alpha)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)
    axes.set_title(name)
    if logs:
        axes.set_xscale("log")
        ticks = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
        inside = [tick for tick in ticks if 10**low <= tick <= 10**high]
        if len(inside) > 5:
            inside = [tick for tick in inside if f"{tick:e}"[0] == "1"]
        axes.xaxis.set_major_locator(FixedLocator(inside))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def _marks(axes: Axes, x: np.ndarray, y: np.ndarray, sparsity: Groups) -> None:
    """A mark a run, coloured and shaped by sparsity where there are a few of them."""
    keep = np.linspace(0, len(x) - 1, min(len(x), MOST_MARKS)).round().astype(int)
    x, y = x[keep], y[keep]
    levels = None if sparsity is None else np.asarray(sparsity, float)[keep]
    if levels is None or not 1 < len(np.unique(levels)) <= len(PALETTE):
        axes.plot(x, y, "o", color=ACCENT, markersize=3.5, alpha=0.8)
        return
    looks = of_sparsity(levels.tolist())
    for level in np.unique(levels):
        color, marker = looks[float(level)]
        chosen = levels == level
        label = f"S = {sparsity_text(float(level))}"
        axes.plot(x[chosen], y[chosen], marker, color=color, markersize=4, alpha=0.85, label=label)


def _running_median(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The median at each of few values of x, or of some eight groups along it: a trend shows here first."""
    levels = np.unique(x)
    groups = [np.flatnonzero(x == level) for level in levels]
    if len(levels) > 8:
        groups = np.array_split(np.argsort(x, kind="stable"), max(1, min(8, len(x) // 5)))
    line = [(np.median(x[group]), np.median(y[group])) for group in groups]
    axes.plot(*zip(*line, strict=True), color=PALETTE[1], linewidth=1.6)


def _place(name: str, values: np.ndarray) -> np.ndarray:
    """Where values lie on their axis: sparsity by doublings of E/K."""
    return -np.log2(1 - values) if name == "sparsity" else values


def _axis(axes: Axes, name: str, which: str) -> None:
    """Scale and label an axis after the marks are drawn."""
    label = LABELS.get(name, name)
    if name == "compute_flops" and which == "x":
        flops_axis(axes, label)
    elif name == "sparsity":
        limit = (axes.get_xlim() if which == "x" else axes.get_ylim())[1]
        sparsity_axis(axes, limit, which)
        (axes.set_xlabel if which == "x" else axes.set_ylabel)(label)
    else:
        count_axis(axes, label, which)


def _legend(figure: Figure, axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=4)
