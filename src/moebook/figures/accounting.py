"""Figures of what a model costs on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moebook.architecture import Family, conventions, flops_by_convention
from moebook.figures.style import INK, MARKERS, PALETTE, new_figure, sparsity_text, styled

LINES = ("-", "--", ":", "-.")
NAMES = {
    conventions.PAPER: "the paper's count, router 14 d E",
    conventions.PAPER_EQ_9: "the paper's Eq. 9, no router",
    conventions.SIX_N: "6 N\N{LATIN SUBSCRIPT SMALL LETTER A}",
    conventions.SIX_N_NONEMBEDDING: "6 N\N{LATIN SUBSCRIPT SMALL LETTER A} without embeddings",
}


def convention_ratios(family: Family, width: np.ndarray, sparsity: float) -> dict[str, np.ndarray]:
    """Each other convention's FLOPs over the exact count, at every width [points]."""
    exact, *others = flops_by_convention(family, np.asarray(width, dtype=float), sparsity).items()
    return {name: flops / exact[1] for name, flops in others}


@styled
def flops_conventions(
    family: Family, sparsities: Sequence[float] = (0, 3 / 4, 15 / 16), widths: tuple[int, int] = (8, 1024)
) -> Figure:
    """How far other counts of FLOPs are from the exact one, against width: a colour and a marker for each
    count, a kind of line for each sparsity (at most four).

    widths: smallest and largest width drawn; the family's rule gives every model between.
    """
    figure, axes = new_figure(5.2, 4.2)
    low, high = (np.log2(width) for width in widths)
    width = 2 ** np.linspace(low, high, 141)
    for line, sparsity in zip(LINES[: len(sparsities)], sparsities, strict=True):
        ratios = convention_ratios(family, width, sparsity)
        for index, name in enumerate(NAMES):
            axes.plot(
                width, ratios[name], line, color=PALETTE[index], linewidth=1.5, marker=MARKERS[index],
                markersize=4.5, markevery=(5 * index, 40),
            )  # fmt: skip
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    ticks = 2.0 ** np.arange(np.ceil(low), np.floor(high) + 1)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(*widths)
    axes.set_ylim(0, None)
    axes.set_xlabel("width d")
    axes.set_ylabel("FLOPs by the rule / FLOPs term by term")
    kinds = [
        Line2D([], [], color=PALETTE[i], marker=MARKERS[i], markersize=4.5, label=label)
        for i, label in enumerate(NAMES.values())
    ]
    kinds += [
        Line2D([], [], color=INK, linestyle=line, label=f"S = {sparsity_text(sparsity)}")
        for line, sparsity in zip(LINES[: len(sparsities)], sparsities, strict=True)
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure
