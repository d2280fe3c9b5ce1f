"""Figures of what sparsity costs in seconds and in memory, beside what it costs in FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moebook.figures.live import doublings
from moebook.figures.style import INK, MARKERS, PALETTE, new_figure, sparsity_axis, styled

OURS, PEER, FLOOR = (PALETTE[0], "o"), (PALETTE[1], "s"), (PALETTE[2], "D")


@styled
def times_by_experts(
    experts: Sequence[int],
    flops: Sequence[float],
    seconds: Mapping[str, Sequence[float]],
    title: str = "",
    top: float | None = None,
) -> Figure:
    """What a step takes against the number of experts, everything over one dense model.

    experts: [points] E, rising from 1; flops: [points] FLOPs over those of E = 1; seconds: {name: [points]
    time over that of E = 1 of the first name}; top: upper end of the axis, to share it between panels.
    """
    figure, axes = new_figure(3.5, 3.3)
    axes.plot(experts, flops, "--", color=INK, linewidth=1.3, label="FLOPs")
    for (name, values), (color, marker) in zip(seconds.items(), (OURS, PEER), strict=False):
        axes.plot(experts, values, marker=marker, color=color, markersize=5, linewidth=1.6, label=name)
    _experts_axis(axes, experts)
    axes.set_ylim(0, top or 1.08 * max(max(values) for values in seconds.values()))
    axes.set_ylabel("over the dense model of this library")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2)
    return figure


@styled
def feed_forwards(
    labels: Sequence[str],
    floor: Sequence[float],
    ours: Sequence[float],
    peer: Sequence[float],
    bar: Sequence[float],
) -> Figure:
    """Time of each feed-forward over a dense one of the same active FLOPs: a row for each, first on top."""
    figure, axes = new_figure(4.4, 1.6 + 0.48 * len(labels))
    rows = np.arange(len(labels))
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.hlines(rows, 1, np.maximum(ours, peer), color=INK, linewidth=0.8, alpha=0.3)
    axes.plot(bar, rows, "|", color=INK, markersize=15, markeredgewidth=1.8, label="bar")
    for name, values, (color, marker) in (
        ("products by expert alone", floor, FLOOR), ("transformers", peer, PEER), ("ours", ours, OURS),
    ):  # fmt: skip
        axes.plot(values, rows, marker, color=color, markersize=6.5, label=name)
    axes.set_yticks(rows, labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(min(0.8, *ours, *floor), None)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("time over dense, same active FLOPs")
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.4)
    return figure


@styled
def slowdown_by_sparsity(
    lines: Mapping[int, tuple[Sequence[float], Sequence[float]]],
    widths: Sequence[int],
    title: str = "",
    top: float | None = None,
) -> Figure:
    """Time of a FLOP over that of the dense model of the same width, against sparsity.

    lines: {width: (sparsities from 0 on, times over dense)}; widths: all that get a colour and a marker of
    their own, in this panel or another; top: upper end of the axis, to share it between panels.
    """
    figure, axes = new_figure(3.6, 3.5)
    axes.axhline(1, color=INK, linestyle="--", linewidth=1.3, label="equal FLOPs")
    for width, (sparsity, times) in lines.items():
        index = list(widths).index(width)
        axes.plot(
            doublings(np.asarray(sparsity)), times, color=PALETTE[index % len(PALETTE)],
            marker=MARKERS[index % len(MARKERS)], markersize=4.5, linewidth=1.4, label=f"width {width}",
        )  # fmt: skip
    sparsity_axis(axes, max(float(doublings(max(sparsity))) for sparsity, _ in lines.values()))
    axes.set_xlabel("sparsity S = (E − K)/E")
    axes.set_ylim(0, top or 1.08 * max(max(times) for _, times in lines.values()))
    axes.set_ylabel("time over the dense run\nof the same width")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, columnspacing=1.2)
    return figure


@styled
def memory_by_sparsity(
    sparsity: Sequence[float], memory: Mapping[str, Sequence[float]], flops: Mapping[str, Sequence[float]]
) -> Figure:
    """Memory and FLOPs of a token against sparsity, both over the dense model of the same width.

    sparsity: [points] from 0 on; memory, flops: {name: [points]}, the same names.
    """
    figure, axes = new_figure(5.2, 3.9)
    at = doublings(np.asarray(sparsity))
    for index, name in enumerate(memory):
        look = {"color": PALETTE[index], "marker": MARKERS[index], "markersize": 5}
        axes.plot(at, memory[name], linewidth=1.6, label=f"memory, {name}", **look)
    for index, name in enumerate(flops):
        look = {"color": PALETTE[index], "marker": MARKERS[index], "markersize": 4}
        axes.plot(at, flops[name], "--", linewidth=1.3, label=f"FLOPs, {name}", **look)
    sparsity_axis(axes, float(at[-1]))
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(FixedLocator(2.0 ** np.arange(0, 12)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sparsity S = (E − K)/E")
    axes.set_ylabel("over the dense model of the same width")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _experts_axis(axes: Axes, experts: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(experts)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("experts E (1: dense)")
