"""Rolling origins: what would have been forecast from the runs up to a budget, asked for the runs above it.

Runs are grouped by their level: their compute to a quarter of a decade, or the size that a token uses where
the law does not read how long a run was trained. An origin c fits the rows of all levels up to c and asks for
those above.

The **top** is the origin that leaves about a fifth of the rows: the largest budgets. Whoever chooses a model
looks at the **inner** origins only, which lie below, and scores them on rows that are not of the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moebook.errors import InputError

PER_DECADE = 4  # levels
TOP_SHARE = 0.2
#: Rows that an inner origin fits at least, in a table of fewer than SMALL rows and in a larger one.
LEAST_FITTED, LEAST_FITTED_OF_MANY, SMALL = 25, 30, 80
LEAST_ASKED = 6  # rows between an inner origin and the top


class Leak(RuntimeError):
    """A run that is asked for was among those that the forecast rests on."""


@dataclass(frozen=True)
class Origin:
    """One origin.

    level: the largest that is fitted, in the unit of the levels; kind: `top` or `inner`;
    fitted, asked: rows, in the table's order; top [asked]: which of those asked are of the top.
    """

    level: float
    kind: str
    fitted: np.ndarray
    asked: np.ndarray
    top: np.ndarray


def levels_of(sizes: np.ndarray) -> np.ndarray:
    """The level of each row [rows]: its compute, or size, rounded to a quarter of a decade."""
    return 10 ** (np.round(np.log10(sizes) * PER_DECADE) / PER_DECADE)


def origins(
    levels: np.ndarray, source: str = "table", least: int = 0, most: int | None = None
) -> list[Origin]:
    """Every origin that leaves enough runs, smallest first, the top last.

    levels [rows]: of each row. least: rows that any origin must fit. most: inner origins at most, spread
    evenly; by default all. Raises InputError where not even the top can be asked for.
    """
    values = np.unique(levels)
    if len(values) < 2:
        raise InputError(f"{source}: budgets: {len(values)}: two are needed, to forecast one from another")
    share = np.array([(levels > level).mean() for level in values[:-1]])
    highest = values[int(np.argmin(np.abs(share - TOP_SHARE)))]
    below = levels <= highest
    if below.sum() < max(least, 1):
        raise InputError(
            f"{source}: rows: {below.sum()} below the largest budgets: a fit needs at least {least}"
        )
    enough = max(least, LEAST_FITTED if len(levels) < SMALL else LEAST_FITTED_OF_MANY)
    inner = [
        level
        for level in values
        if level < highest
        and (levels <= level).sum() >= enough
        and ((levels > level) & below).sum() >= LEAST_ASKED
    ]
    if most is not None and len(inner) > most:
        inner = [inner[i] for i in np.unique(np.linspace(0, len(inner) - 1, most).round().astype(int))]
    return [_origin(levels, level, highest) for level in (*inner, highest)]


def _origin(levels: np.ndarray, level: float, highest: float) -> Origin:
    asked = np.flatnonzero(levels > level)
    kind = "top" if level == highest else "inner"
    return Origin(float(level), kind, np.flatnonzero(levels <= level), asked, levels[asked] > highest)


def refuse_leaks(
    fitted: Sequence[np.ndarray],
    asked: Sequence[np.ndarray],
    sizes_fitted: np.ndarray,
    sizes_asked: np.ndarray,
) -> None:
    """Raise Leak where a row that is asked for is among the fitted, or its budget lies below one of theirs.

    fitted, asked: columns [rows] of each, the loss among them, in one order; sizes: compute or size of each.
    """
    known = set(zip(*(column.tolist() for column in fitted), strict=True))
    twice = [row for row in zip(*(column.tolist() for column in asked), strict=True) if row in known]
    if twice:
        raise Leak(f"{len(twice)} of the runs asked for are among those fitted, {twice[0]} for one")
    if len(sizes_asked) and sizes_asked.min() <= sizes_fitted.max():
        raise Leak(
            f"a run asked for, at {sizes_asked.min():.4g}, lies within the budgets fitted, up to "
            f"{sizes_fitted.max():.4g}"
        )
