"""Figures of one training run: the loss on the way, and how the router spreads its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from moebook.figures.style import INK, MARKERS, PALETTE, count_axis, new_figure, styled


@styled
def loss_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Training loss against tokens seen; `curves` maps a label to (tokens, loss_nats)."""
    figure, axes = new_figure()
    for index, (label, (tokens, loss_nats)) in enumerate(curves.items()):
        axes.plot(
            tokens, loss_nats, color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)],
            markersize=4, linewidth=1.6, label=label,
        )  # fmt: skip
    count_axis(axes, "training tokens D (bytes)")
    axes.set_ylabel("training loss (nats per byte)")
    axes.legend()
    return figure


@styled
def router_load(load_LE: np.ndarray, active: int) -> Figure:
    """Share of the assignments that each expert received, bars for each layer, against an even spread.

    A token is assigned to each expert that it uses, so shares are of assignments, not of tokens.

    load_LE: [layers, experts], each row sums to one; active: K, so that an even spread is one over E.
    """
    load_LE = np.atleast_2d(np.asarray(load_LE, dtype=float))
    layers, experts = load_LE.shape
    figure, axes = new_figure(5.2, 2.9)
    width = 0.8 / layers
    for layer in range(layers):
        at = np.arange(experts) + (layer - (layers - 1) / 2) * width
        axes.bar(
            at, 100 * load_LE[layer], width, color=PALETTE[layer % len(PALETTE)], label=f"layer {layer + 1}",
            hatch=("", "///", "...")[layer % 3], edgecolor=INK, linewidth=0.3,
        )  # fmt: skip
    axes.axhline(100 / experts, color=INK, linewidth=1.2, linestyle="--", label="even spread")
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(f"expert (each token uses {active} of {experts})")
    axes.set_ylabel("share of assignments (%)")
    axes.legend(ncols=layers + 1, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    return figure


@styled
def terms(parts: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """What the parts of a whole are: a bar of shares for each label; `parts` maps label to {term: amount}.

    A term that is zero everywhere is not drawn.
    """
    figure, axes = new_figure(5.2, 0.9 + 0.55 * len(parts))
    names = list(dict.fromkeys(name for terms_ in parts.values() for name in terms_ if terms_[name]))
    for row, terms_ in enumerate(parts.values()):
        left, whole = 0.0, sum(terms_.values())
        for index, name in enumerate(names):
            share = 100 * terms_.get(name, 0) / whole
            axes.barh(
                row, share, left=left, color=PALETTE[index % len(PALETTE)], edgecolor=INK, linewidth=0.3,
                label=name if row == 0 else None, hatch=("", "///", "...", "xx", "\\\\", "++")[index % 6],
            )  # fmt: skip
            left += share
    axes.set_yticks(range(len(parts)), list(parts))
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"share of the {unit} (%)")
    figure.legend(ncols=3, loc="outside upper center")
    return figure
