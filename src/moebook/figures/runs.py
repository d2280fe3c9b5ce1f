"""Figures of the run table: IsoFLOP profiles and the noise between seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moebook.figures.style import (
    INK,
    MARKERS,
    PALETTE,
    count_axis,
    count_text,
    flops_text,
    new_figure,
    of_sparsity,
    sparsity_axis,
    sparsity_text,
    styled,
)

if TYPE_CHECKING:
    import pandas


@styled
def isoflop_profile(
    cells: pandas.DataFrame,
    compute_flops: float,
    sparsities: list[float],
    size: str = "params_active",
    loss_limits: tuple[float, float] | None = None,
) -> Figure:
    """Loss against size at one budget, a line for each sparsity; the lowest point of a line is drawn large,
    and hollow where it is at an end of its line.

    cells: one row a (budget, sparsity, width) cell with columns compute_flops (FLOPs, as planned), sparsity,
    params, params_active, loss_nats (mean over seeds) and loss_sd_nats (empty for one seed).
    """
    rows = cells[np.isclose(cells["compute_flops"], compute_flops, rtol=0.05)]
    figure, axes = new_figure(3.5, 3.7)
    looks = of_sparsity(sparsities)
    for sparsity, line in rows.groupby("sparsity"):
        line = line.sort_values(size)
        color, marker = looks[float(sparsity)]
        drawn = axes.errorbar(
            line[size], line["loss_nats"], yerr=line["loss_sd_nats"].fillna(0), color=color, marker=marker,
            markersize=4, linewidth=1.2, capsize=2, label=f"S = {sparsity_text(float(sparsity))}",
        )  # fmt: skip
        # The lowest is drawn by itself, or a small filled marker would stand inside a hollow one.
        drawn.lines[0].set_markevery([i for i in range(len(line)) if i != line["loss_nats"].argmin()])
        mark_lowest(axes, line[size].to_numpy(), line["loss_nats"].to_numpy(), color, marker)
    label = {"params_active": "active parameters", "params": "parameters N"}[size]
    count_axis(axes, label)
    axes.set_ylabel("loss (nats per byte)")
    axes.set_title(f"C = {flops_text(compute_flops)} FLOPs")
    if loss_limits:
        axes.set_ylim(*loss_limits)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2, handletextpad=0.4)
    return figure


def mark_lowest(axes: Axes, at: np.ndarray, loss_nats: np.ndarray, color: str, marker: str) -> None:
    """Draw the lowest point of a line large: filled, or hollow where it is at an end, for the best may lie
    beyond. at: in the order of the line."""
    best = int(np.argmin(loss_nats))
    inside = 0 < best < len(loss_nats) - 1
    axes.plot(
        at[best], loss_nats[best], marker=marker, color=color, markersize=8, linestyle="none",
        **({"markeredgecolor": INK} if inside else {"markerfacecolor": "none", "markeredgewidth": 1.6}),
    )  # fmt: skip


@styled
def seed_noise(replicates: pandas.DataFrame) -> Figure:
    """How far each replicate lies from the mean of its cell, by sparsity.

    replicates: one row a run of a cell with two seeds or more; columns sparsity and deviation_nats.
    """
    figure, axes = new_figure(5.2, 2.8)
    looks = of_sparsity(list(replicates["sparsity"]))
    names = []
    for row, (sparsity, group) in enumerate(replicates.groupby("sparsity")):
        color, marker = looks[float(sparsity)]
        spread = np.linspace(-0.18, 0.18, len(group)) if len(group) > 1 else np.zeros(1)
        axes.plot(1000 * group["deviation_nats"], row + spread, marker, color=color, markersize=4, alpha=0.8)
        names.append(f"S = {sparsity_text(float(sparsity))}")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("loss minus the mean of its cell (thousandths of a nat per byte)")
    return figure


@styled
def loss_by_sparsity(cells: pandas.DataFrame, compute_flops: float, title: str = "") -> Figure:
    """Loss against sparsity at one budget, a line for each width: at fixed C and fixed active size.

    cells: as for `isoflop_profile`; a width looks the same at every budget that is among them. Bars are the
    spread between seeds where there are several.
    """
    rows = cells[np.isclose(cells["compute_flops"], compute_flops, rtol=0.05)]
    figure, axes = new_figure(3.5, 3.3)
    widths = sorted(set(cells["width"]))
    for width, line in rows.groupby("width"):
        line, index = line.sort_values("sparsity"), widths.index(width)
        axes.errorbar(
            -np.log2(1 - line["sparsity"].to_numpy()), line["loss_nats"], yerr=line["loss_sd_nats"].fillna(0),
            color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)], markersize=4.5,
            linewidth=1.5, capsize=2, label=f"width {width:.0f}",
        )  # fmt: skip
    sparsity_axis(axes, float(-np.log2(1 - rows["sparsity"].max())))
    axes.set_xlabel("sparsity S = (E − K)/E")
    axes.set_ylabel("loss (nats per byte)")
    axes.set_title(title or f"C = {flops_text(compute_flops)} FLOPs")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled
def loss_at_sizes(rows: pandas.DataFrame, compute_flops: float) -> Figure:
    """Loss against sparsity at one budget, a line for each size N; the lowest point of a line is drawn large,
    and hollow where it is at an end of its line.

    rows: columns compute_flops (FLOPs), size (0, 1, ...: its place among those of the budget), params,
    sparsity and loss_nats, as `profiles.at_sizes` interpolates them.
    """
    rows = rows[np.isclose(rows["compute_flops"], compute_flops, rtol=0.05)]
    figure, axes = new_figure(3.5, 3.3)
    for size, line in rows.groupby("size"):
        line = line.sort_values("sparsity")
        color, marker = PALETTE[size % len(PALETTE)], MARKERS[size % len(MARKERS)]
        at, loss = -np.log2(1 - line["sparsity"].to_numpy()), line["loss_nats"].to_numpy()
        axes.plot(
            at, loss, color=color, marker=marker, markersize=4.5, linewidth=1.5,
            markevery=[i for i in range(len(loss)) if i != loss.argmin()],
            label=f"N = {count_text(line['params'].iloc[0])}",
        )  # fmt: skip
        mark_lowest(axes, at, loss, color, marker)
    sparsity_axis(axes, float(-np.log2(1 - rows["sparsity"].max())))
    axes.set_xlabel("sparsity S = (E − K)/E")
    axes.set_ylabel("loss (nats per byte)")
    axes.set_title(f"C = {flops_text(compute_flops)} FLOPs")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled
def gain_from_sparsity(best: pandas.DataFrame, title: str = "") -> Figure:
    """Loss of the best size against sparsity, a line for each budget.

    best: columns compute_flops, sparsity, loss_nats and bracketed (whether the best size has both
    neighbours). Cells that are not bracketed are drawn hollow.
    """
    figure, axes = new_figure(3.6, 3.4)
    axes.set_title(title)
    for index, (budget, line) in enumerate(best.groupby("compute_flops")):
        line = line.sort_values("sparsity")
        at = -np.log2(1 - line["sparsity"].to_numpy())
        color = PALETTE[index % len(PALETTE)]
        axes.plot(
            at, line["loss_nats"], color=color, linewidth=1.5, label=f"{flops_text(float(budget))} FLOPs"
        )
        for x, loss, bracketed in zip(at, line["loss_nats"], line["bracketed"], strict=True):
            axes.plot(x, loss, "o", color=color, markerfacecolor=color if bracketed else "none", markersize=6)
    sparsity_axis(axes, float(-np.log2(1 - best["sparsity"].max())))
    axes.set_xlabel("sparsity S = (E − K)/E")
    axes.set_ylabel("loss at the best size\n(nats per byte)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
