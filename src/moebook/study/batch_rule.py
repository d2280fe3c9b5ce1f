"""From which budget on a larger batch is no worse: a rule B(C) from anchors that differ in it alone.

What the larger batch costs falls with the budget, as a line in log10 C:

    cost = c_0 + c_1 log10(C / C_0)

and where it crosses zero the batch is doubled (or grown by whatever the pairs differ in).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moebook.errors import InputError


@dataclass(frozen=True)
class BatchRule:
    """B(C): `smaller` tokens below `switch_flops`, `larger` from there on.

    per_decade_nats: by how much the cost of the larger changes with ten times the budget, with its standard
    error; switch_decades_error: standard error of log10 of the switch; residual_nats: standard deviation of
    what the line leaves; pairs: how many it rests on; low_flops, high_flops: their budgets.
    """

    smaller: int
    larger: int
    switch_flops: float
    switch_decades_error: float
    per_decade_nats: float
    per_decade_error_nats: float
    residual_nats: float
    pairs: int
    low_flops: float
    high_flops: float

    def __call__(self, compute_flops: float) -> int:
        """The batch at a budget, tokens."""
        return self.larger if compute_flops >= self.switch_flops else self.smaller


def fit_batch(pairs: Sequence[Mapping[str, Any]]) -> BatchRule:
    """The rule from what `by_batch` found, for the pair of batches that was compared most.

    Raises InputError where the pairs do not show one: fewer than three, at one budget, or with a cost that
    does not fall.
    """
    batches = [(pair["smaller"], pair["larger"]) for pair in pairs]
    most = max(sorted(set(batches)), key=batches.count, default=None)
    used = [pair for pair, both in zip(pairs, batches, strict=True) if both == most]
    x = np.log10([pair["compute_flops"] for pair in used])
    y = np.array([pair["cost_nats"] for pair in used])
    if len(used) < 3 or np.ptp(x) == 0:
        raise InputError(f"tuning: {len(used)} pairs of batches: too few budgets for a rule of batches")
    middle = x.mean()
    design = np.stack([np.ones_like(x), x - middle], axis=1)
    (level, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(np.sum((y - design @ [level, slope]) ** 2)) / (len(y) - 2)
    (of_level, _), (_, of_slope) = variance * np.linalg.inv(design.T @ design)
    if slope >= 0:
        raise InputError(
            "tuning: a larger batch does not get cheaper as the budget grows: no rule of batches"
        )
    from_middle = -level / slope  # level and slope do not covary: x is centred
    error = np.sqrt(of_level + from_middle**2 * of_slope) / abs(slope)
    return BatchRule(
        smaller=int(most[0]), larger=int(most[1]), switch_flops=float(10 ** (middle + from_middle)),
        switch_decades_error=float(error), per_decade_nats=float(slope),
        per_decade_error_nats=float(np.sqrt(of_slope)), residual_nats=float(np.sqrt(variance)),
        pairs=len(used), low_flops=float(10 ** x.min()), high_flops=float(10 ** x.max()),
    )  # fmt: skip
