"""What a task gives: a result for each item, and the score that they make.

An item's result is kept as it will be stored, in steps of a sixteenth of a nat, and the score is that of the
stored results, so that a file of items gives its record's scores again, exactly.

Shapes: I items, D documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moebook.train.evaluate import ratio_with_stderr

UNIFORM_BITS = 8.0  # of a guess among 256 bytes
#: Nats are stored in such steps: far below what one item tells, and half the size on disk. Margins are
#: rounded away from zero, so that right stays right.
STEP = 1 / 16


@dataclass(frozen=True)
class Part:
    """A score over some of the items; the standard error is None where it cannot be known."""

    score: float
    standard_error: float | None
    items: int

    def to_dict(self) -> dict[str, Any]:
        return {"score": self.score, "stderr": self.standard_error, "items": self.items}


@dataclass(frozen=True)
class Scored:
    """A task's outcome on one model.

    Attributes:
        items: float16 [I], the margin of a choice in nats (right where it is above zero), or float32 [I], the
            nats of a window.
        score, standard_error, chance: of all items; `chance` is what a model that knows nothing gets.
        unit: "share right" or "bits a byte".
        pool: hash of all items there are, in order. Two models whose pools are equal had the same item i.
        parts: scores over parts of the items, by name.
    """

    items: np.ndarray
    score: float
    standard_error: float | None
    chance: float
    unit: str
    pool: str
    parts: dict[str, Part] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a record has it, but for the items."""
        return Part(self.score, self.standard_error, len(self.items)).to_dict() | {
            "chance": self.chance, "unit": self.unit, "pool": self.pool,
        } | ({"parts": {name: part.to_dict() for name, part in self.parts.items()}} if self.parts else {})


def choices(
    margins: np.ndarray, strata: np.ndarray, parts: np.ndarray, chance: float, pool: str,
    units: np.ndarray | None = None,
) -> Scored:
    """The share of right choices.

    Args:
        margins: nats [I] by which the right answer is more likely than the best other one. A tie is wrong.
        strata: [I], the kind of each item; kinds are fixed, items of a kind are drawn.
        parts: names [I] of the parts that get scores of their own.
        units: [I], what is drawn as one, where items of several strata belong together; then the whole
            score's standard error takes these as the sampling unit.
    """
    if not np.isfinite(margins).all():
        raise FloatingPointError(f"{np.sum(~np.isfinite(margins))} of {len(margins)} margins are not finite")
    largest = float(np.finfo(np.float16).max)
    items = np.clip(np.copysign(np.ceil(np.abs(margins) / STEP) * STEP, margins), -largest, largest)
    items = items.astype(np.float16)
    right = items > 0
    found = {}
    for name in dict.fromkeys(parts.tolist()):
        here = parts == name
        found[name] = Part(*share_with_stderr(right[here], strata[here]), int(here.sum()))
    score, error = share_with_stderr(right, strata)
    if units is not None:
        error = _mean_by_unit(right, np.ones(len(right)), units)[1]
    return Scored(items, score, error, chance, "share right", pool, found)


def _mean_by_unit(
    values: np.ndarray, weights: np.ndarray, units: np.ndarray
) -> tuple[float, float | None]:
    """sum(values) / sum(weights), and its standard error with units drawn independently."""
    _, of_item = np.unique(units, return_inverse=True)
    sums_D = np.bincount(of_item, weights=values.astype(np.float64))
    mean, stderr = ratio_with_stderr(sums_D, np.bincount(of_item, weights=weights))
    return mean, stderr if math.isfinite(stderr) else None


def share_with_stderr(right: np.ndarray, strata: np.ndarray) -> tuple[float, float | None]:
    """The share of right items and its standard error, items drawn independently in each stratum.

    The variance of stratum h of n_h items is p_h (1 - p_h) / (n_h - 1), weighed by (n_h / I)^2; with one
    stratum that is the binomial's, without bias. A stratum of one item shows no variance, so then all
    count as one stratum. None for a single item.
    """
    total = len(right)
    _, of_item, counts = np.unique(strata, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        of_item, counts = np.zeros(total, dtype=int), np.array([total])
    if total < 2:
        return float(np.mean(right)), None
    share = np.bincount(of_item, weights=right) / counts
    variance = share * (1 - share) / (counts - 1)
    return float(np.mean(right)), float(math.sqrt(((counts / total) ** 2 * variance).sum()))


def bits(nats: np.ndarray, lengths: np.ndarray, documents: np.ndarray, pool: str) -> Scored:
    """Bits a byte of windows: nats [I] over `lengths` [I] bytes each.

    The standard error takes documents as the sampling unit (`documents` [I] says which each window is of);
    None where there is one document.
    """
    items = (np.round(nats / STEP) * STEP).astype(np.float32)
    if not np.isfinite(items).all():
        raise FloatingPointError(f"{np.sum(~np.isfinite(items))} of {len(items)} windows are not finite")
    mean, error = _mean_by_unit(items, lengths, documents)
    in_bits = None if error is None else error / math.log(2)
    return Scored(items, mean / math.log(2), in_bits, UNIFORM_BITS, "bits a byte", pool)
