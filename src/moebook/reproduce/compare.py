"""Make everything again, and say of each part how it compares with what is committed.

Three levels, as the README promises them: the same bits (same lock, same processor), the same within Monte
Carlo error (a posterior on another machine), the same within seed noise (a run retrained on another machine).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from moebook.runs import Record

SAME_BITS = "same bits"
WITHIN_MONTE_CARLO = "within Monte Carlo error"
WITHIN_SEED_NOISE = "within seed noise"
DIFFERS = "differs"

#: Deviations that two runs of one cell, or two estimates of one number, may lie apart.
LIMIT_DEVIATIONS = 4.0
#: Standard deviation of a normal variable over the median of its size.
NORMAL_MEDIAN = 1.4826


@dataclass(frozen=True)
class Comparison:
    """How one thing that was made again compares with the committed one; `detail` says by how much."""

    name: str
    level: str
    detail: str = ""


def cell_of(record: Record) -> str:
    """A run's identity but for its seed: runs of one cell are replicates."""
    return repr(sorted((name, value) for name, value in record.config.items() if name != "seed"))


def seed_deviation_nats(records: Iterable[Record]) -> float:
    """Standard deviation (nats) of the loss between runs that differ in their seed alone, over all cells.

    By the median of the deviations within cells, so that one wrong record does not widen its own excuse.
    NaN where no cell has two finished runs.
    """
    cells: dict[str, list[float]] = {}
    for record in records:
        if record.done:
            cells.setdefault(cell_of(record), []).append(record.measures["loss_nats"])
    deviations = [
        abs(loss - statistics.mean(losses)) * math.sqrt(len(losses) / (len(losses) - 1))
        for losses in cells.values()
        if len(losses) > 1
        for loss in losses
    ]
    return NORMAL_MEDIAN * statistics.median(deviations) if deviations else math.nan


def compare_run(made: Record, committed: Record | None, deviation_nats: float) -> Comparison:
    """Compare a retrained run with the committed one of its key.

    Args:
        deviation_nats: seed noise; two runs of one cell lie apart by sqrt(2) of it.
    """
    if committed is None:
        return Comparison(made.key, DIFFERS, "no committed run has this key")
    measures = {name: made.measures.get(name) for name in committed.measures}  # it may have measured less
    if (made.status, measures, made.curve) == (committed.status, committed.measures, committed.curve):
        return Comparison(made.key, SAME_BITS)
    if not (made.done and committed.done):
        return Comparison(made.key, DIFFERS, f"{made.status} now, {committed.status} before")
    apart = abs(made.measures["loss_nats"] - committed.measures["loss_nats"])
    level = WITHIN_SEED_NOISE if apart <= LIMIT_DEVIATIONS * math.sqrt(2) * deviation_nats else DIFFERS
    return Comparison(made.key, level, f"{apart:.4f} nats apart, seed noise {deviation_nats:.4f}")


def compare_estimate(
    name: str, made: float, committed: float, made_error: float, committed_error: float
) -> Comparison:
    """Compare a posterior number with the committed one, each with its Monte Carlo standard error."""
    if made == committed:
        return Comparison(name, SAME_BITS)
    error = math.hypot(made_error, committed_error)
    level = WITHIN_MONTE_CARLO if abs(made - committed) <= LIMIT_DEVIATIONS * error else DIFFERS
    return Comparison(name, level, f"{made:.6g} now, {committed:.6g} before, Monte Carlo error {error:.2g}")


def tally(comparisons: Iterable[Comparison]) -> str:
    """How many of each level, in words: "64 same bits, 2 within seed noise"."""
    found = Counter(comparison.level for comparison in comparisons)
    order = (SAME_BITS, WITHIN_MONTE_CARLO, WITHIN_SEED_NOISE, DIFFERS)
    return ", ".join(f"{found[level]} {level}" for level in order if found[level])


def worst(comparisons: Iterable[Comparison]) -> str:
    """The weakest level among them."""
    order = [SAME_BITS, WITHIN_MONTE_CARLO, WITHIN_SEED_NOISE, DIFFERS]
    return max((c.level for c in comparisons), key=order.index, default=SAME_BITS)
