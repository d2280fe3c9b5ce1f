"""Whether the draws of the optimum lie in two groups: a median between them would be nobody's answer."""

from __future__ import annotations

import numpy as np

from moebook.book.contents.curves import answer
from moebook.book.contents.runs import text_title
from moebook.book.say import listed
from moebook.figures.live import doublings
from moebook.figures.style import flops_text, percent, sparsity_decimals

#: Two groups: each holds a share of the draws of at least LEAST, and between them the draws lie less than
#: VALLEY as densely as in the lower of the two peaks.
LEAST, VALLEY, BINS = 0.15, 1 / 3, 30


def split(sparsity_star: np.ndarray) -> float | None:
    """The sparsity that parts the draws [draws] into two groups, or None where they form one."""
    at = doublings(sparsity_star)
    low, high = np.quantile(at, [0.01, 0.99])
    if high - low < 1e-6:
        return None
    counts, edges = np.histogram(at, BINS, (low, high))
    smooth = np.convolve(np.pad(counts, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    best, place = VALLEY, None
    for i in range(1, BINS - 1):
        peaks = smooth[:i].max(), smooth[i + 1 :].max()
        middle = (edges[i] + edges[i + 1]) / 2
        share = float(np.mean(at < middle))
        if min(share, 1 - share) >= LEAST and smooth[i] < best * min(peaks):
            best, place = smooth[i] / min(peaks), middle
    return None if place is None else float(1 - 2.0**-place)


def groups_in_words(text: str) -> str:
    """At which budgets of a text the draws lie in two groups, and where; Markdown, empty where at none."""
    found, parts = answer(text), []
    for i, budget in enumerate(found.compute_flops):
        star = found.sparsity_star[:, i]
        place = split(star)
        if place is not None:
            ends = sparsity_decimals(
                *(float(np.median(star[side])) for side in (star < place, star >= place))
            )
            share = float(np.mean(star < place))
            parts.append(
                f"at {flops_text(float(budget))} FLOPs, {percent(share)} around {ends[0]}, "
                f"{percent(1 - share)} around {ends[1]}"
            )
    if not parts:
        return ""
    return (
        f"- **{text_title(text)}:** the draws lie in two groups {listed(parts)}. A median there says which "
        "group is the larger, and little else; read the two as one answer that reaches from one to the "
        "other. Each lies between two sparsities that were trained, where the misfit of the law is free to "
        "bend."
    )
