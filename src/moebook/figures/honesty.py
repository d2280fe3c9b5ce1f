"""Figures of how far a fit can be trusted: what it owes to its priors, and how its forecasts did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.style import ACCENT, INK, PALETTE, count_text, sparsity_text, styled

if TYPE_CHECKING:
    import pandas


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
    axes.set_xlabel("how far the answer moves\n(distance; 0: not at all)")
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
        axes.set_xlabel("share of runs inside")
    panels[0].set_yticks(rows, list(names))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


@styled
def forecast_and_outcome(rows: pandas.DataFrame) -> Figure:
    """Forecast intervals of the loss, run by run, and what came out.

    rows: a row for each run and level, with key, sparsity, params, interval, run_low_nats, run_median_nats,
    run_high_nats, and loss_nats where the run is made.
    """
    rows = rows.sort_values(["sparsity", "params", "key"], kind="stable")
    keys = list(dict.fromkeys(rows["key"]))
    at = {key: len(keys) - 1 - i for i, key in enumerate(keys)}
    figure = Figure(figsize=(5.6, 1.2 + 0.2 * len(keys)), layout="constrained")
    axes = figure.subplots()
    levels = sorted(set(rows["interval"]), reverse=True)
    for level, width in zip(levels, np.linspace(2.5, 7, len(levels)), strict=True):
        part = rows[rows["interval"] == level]
        axes.hlines(
            [at[k] for k in part["key"]], part["run_low_nats"], part["run_high_nats"], color=PALETTE[0],
            alpha=0.45, linewidth=width, label=f"{100 * level:g} %",
        )  # fmt: skip
    once = rows.drop_duplicates("key")
    axes.plot(once["run_median_nats"], [at[k] for k in once["key"]], "|", color=INK, markersize=8)
    made = once[once["loss_nats"].notna()]
    if len(made):
        axes.plot(made["loss_nats"], [at[k] for k in made["key"]], "o", color=ACCENT, markersize=5,
                  label="what came out")  # fmt: skip
    names = [f"S = {sparsity_text(float(s))}, N = {count_text(n)}"
             for s, n in zip(once["sparsity"], once["params"], strict=True)]  # fmt: skip
    axes.set_yticks([at[k] for k in once["key"]], names)
    axes.set_xlabel("loss (nats per byte)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
