"""Numbers for the prose: a chapter computes them, names them, and the text refers to the names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from moebook.figures.page import Html
from moebook.figures.style import unbroken

if TYPE_CHECKING:
    from IPython.display import Markdown

LIKELY, VERY_LIKELY = 0.8, 0.95


def say(values: Mapping[str, str | int]) -> None:
    """Make values quotable in the chapter's text as {glue:text}`name`; all are finished text."""
    from myst_nb import glue

    for name, value in values.items():
        glue(name, unbroken(str(value)), display=False)


def prose(text: str) -> Markdown | Html:
    """Markdown to show, no line breaks before a %; nothing for no text (Markdown would show its type)."""
    from IPython.display import Markdown

    if not text.strip():
        return Html("")
    return Markdown(unbroken(text))


def likelihood(share: float) -> str:
    """A probability in words."""
    if share >= VERY_LIKELY:
        return "very likely"
    if share >= LIKELY:
        return "likely"
    if share > 1 - LIKELY + 1e-12:
        return "undecided"
    return "unlikely" if share > 1 - VERY_LIKELY + 1e-12 else "very unlikely"


def likelihood_rule() -> str:
    """What those words mean, in a sentence."""
    return (
        f"“Likely” means a probability of {100 * LIKELY:.0f} % or more, “very likely” "
        f"{100 * VERY_LIKELY:.0f} % or more; “unlikely” and “very unlikely” mean "
        f"{100 * (1 - LIKELY):.0f} % and {100 * (1 - VERY_LIKELY):.0f} % or less. "
        "What lies between is “undecided”."
    )


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


def more(ratio: float) -> str:
    """A ratio in words: 25 % more, 3 % less, 1.9 times as much, about as much (within half a per cent)."""
    if ratio >= 1.995:
        return f"{ratio:.1f} times as much"
    off = round(100 * (ratio - 1))
    return f"{abs(off)} % {'more' if off > 0 else 'less'}" if off else "about as much"


def listed(parts: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
