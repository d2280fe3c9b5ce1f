"""Figures of a tuning study: the loss against the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from moebook.figures.style import INK, new_figure, of_sparsity, sparsity_text, styled


@styled
def loss_by_rate(
    lines: Mapping[float, tuple[Sequence[float], Sequence[float]]],
    sparsities: Sequence[float],
    title: str = "",
    rule: Mapping[float, float] | None = None,
) -> Figure:
    """Loss above the lowest of its line against the learning rate, a line a sparsity.

    lines: {sparsity: (rates, losses_nats)}; sparsities: all of the study, for the looks; rule: {sparsity: the
    rate by the rule}, a tick at the foot.
    """
    figure, axes = new_figure(3.4, 2.9)
    looks = of_sparsity(list(sparsities))
    tried = [rate for rates, _ in lines.values() for rate in rates]
    doubled = 1e-3 * 2.0 ** np.arange(-6, 12)  # all that were tried would stand on each other
    ticks = [rate for rate in doubled if 0.99 * min(tried) < rate < 1.01 * max(tried)] or sorted(set(tried))
    for sparsity, (rates, losses_nats) in sorted(lines.items()):
        color, marker = looks[float(sparsity)]
        axes.plot(
            rates, 1000 * (np.array(losses_nats) - min(losses_nats)), marker=marker, color=color,
            markersize=5, linewidth=1.5, label=f"S = {sparsity_text(float(sparsity))}",
        )  # fmt: skip
        if rule and sparsity in rule:
            axes.plot(rule[sparsity], 0, "|", color=color, markersize=18, markeredgewidth=2.5)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{1000 * value:g}"))
    axes.set_xlabel("learning rate (thousandths)")
    axes.set_ylabel("loss above the lowest\n(thousandths of a nat)")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.4)
    return figure
