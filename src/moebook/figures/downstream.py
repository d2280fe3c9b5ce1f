"""Figures of scores beside the loss: what a model of a given loss can do, by sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moebook.figures.style import INK, MARKERS, PALETTE, new_figure, of_sparsity, sparsity_text, styled

if TYPE_CHECKING:
    import pandas


@styled
def score_by_loss(
    runs: pandas.DataFrame,
    score: str,
    lines: Mapping[float, tuple[np.ndarray, np.ndarray]],
    title: str,
    label: str,
    chance: float | None = None,
) -> Figure:
    """A score against the loss, a point a run, coloured by sparsity; the loss falls to the right.

    runs: columns loss_nats, sparsity and the score's; lines: {sparsity: (losses, expected scores)}; chance:
    of a model that knows nothing, drawn as a line where it is within reach of the points.
    """
    figure, axes = new_figure(3.5, 3.5)
    looks = of_sparsity(list(runs["sparsity"]))
    for sparsity, part in runs.groupby("sparsity"):
        color, marker = looks[float(sparsity)]
        axes.plot(part["loss_nats"], part[score], marker, color=color, markersize=3.5, alpha=0.75,
                  label=f"S = {sparsity_text(float(sparsity))}")  # fmt: skip
    for sparsity, (loss, expected) in lines.items():
        name = "dense" if sparsity == 0 else f"S = {sparsity_text(sparsity)}"
        axes.plot(loss, expected, color=looks[sparsity][0], linewidth=2, label=f"expected, {name}")
    if chance is not None:
        axes.axhline(chance, color=INK, linestyle="--", linewidth=1, label="chance")
    axes.invert_xaxis()
    axes.set_xlabel("loss (nats per byte; better to the right)")
    axes.set_ylabel(label)
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled
def at_equal_loss(
    titles: Sequence[str], effects: Mapping[str, Sequence[tuple[float, float, float]]], unit: str
) -> Figure:
    """What sparsity adds to scores at equal loss: a row a score, an interval for each thing held equal.

    titles: of the scores, the first on top; effects: {what is held equal: a (low, median, high) a score}, so
    signed that to the right the sparser model is ahead.
    """
    figure = Figure(figsize=(4.3, 1.6 + 0.5 * len(titles)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(titles))[::-1]
    for i, (name, found) in enumerate(effects.items()):
        at = rows + 0.2 * ((len(effects) - 1) / 2 - i)
        low, median, high = np.array(found).T
        axes.hlines(at, low, high, color=PALETTE[i], linewidth=2)
        axes.plot(median, at, MARKERS[i], color=PALETTE[i], markersize=5, label=f"at equal {name}")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks(rows, list(titles))
    axes.set_ylim(-0.6, len(titles) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"← denser ahead    sparser ahead →\n{unit}")
    figure.legend(loc="outside lower center", ncols=1)
    return figure
