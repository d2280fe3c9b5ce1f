"""Numbers for the prose: a chapter computes them, names them, and the text refers to the names."""

from __future__ import annotations

import math
from collections.abc import Mapping


def say(values: Mapping[str, str | int]) -> None:
    """Make values quotable in the chapter's text as {glue:text}`name`; all are finished text."""
    from myst_nb import glue

    for name, value in values.items():
        glue(name, str(value), display=False)


def likelihood(share: float) -> str:
    """A probability in words."""
    if share >= 0.95:
        return "very likely"
    if share >= 0.8:
        return "likely"
    if share > 0.2:
        return "undecided"
    return "unlikely" if share > 0.05 else "very unlikely"


def rounded(value: float, uncertainty: float) -> str:
    """A value with no more digits than its uncertainty (a standard error, in the same unit) supports."""
    if not (math.isfinite(uncertainty) and uncertainty > 0):
        raise ValueError(f"uncertainty: {uncertainty}: must be positive and finite")
    digits = max(0, math.ceil(-math.log10(uncertainty)))
    return f"{value:.{digits}f}"


def seconds(value: float) -> str:
    """A duration: 4 s, 3 min, 2.1 h."""
    if value < 100:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
