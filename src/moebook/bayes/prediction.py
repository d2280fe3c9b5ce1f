"""The loss of runs that were not made, with intervals, and how far they lie beyond those that were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moebook.bayes.gates import require_passed
from moebook.bayes.posterior import Posterior, Surface
from moebook.bayes.quantities import Points, take_points
from moebook.errors import InputError

#: Draws that an interval must leave beyond each of its ends.
TAIL_DRAWS = 10
#: Nobody can tell an edge of the fitted range closer than this factor.
BEYOND_FROM = 1.001


@dataclass(frozen=True)
class Forecast:
    """Losses at new points [points], in nats.

    level: share of the draws inside an interval; curve [3, points]: low end, median, high end of the mean
    curve, the law with its misfit; run [3, points]: the same of a single new run, with its noise;
    beyond: {quantity: [points]} how far a point lies outside the fitted runs, as a factor: 1 inside, 3 three
    times above the largest, 1/3 three times below the smallest. Sparsity counts by 1/(1 - S).
    """

    points: Points
    level: float
    curve: np.ndarray
    run: np.ndarray
    beyond: dict[str, np.ndarray]

    @property
    def extrapolates(self) -> np.ndarray:
        """Whether each point lies outside the fitted range of any quantity."""
        return np.any([factors != 1 for factors in self.beyond.values()], axis=0)

    def outside(self, point: int) -> str:
        """What of one point lies outside, and how far: `tokens 3.2 times above`; empty inside."""
        said = []
        for name, factors in self.beyond.items():
            if factors[point] != 1:
                times, where = (
                    (factors[point], "above") if factors[point] > 1 else (1 / factors[point], "below")
                )
                unit = " in 1/(1 - S)" if name == "sparsity" else ""
                said.append(f"{name} {times:.3g} times {where}{unit}")
        return ", ".join(said)

    def table(self) -> pd.DataFrame:
        """A row a point: where, the intervals, and how far outside."""
        unknown = np.full(len(self.points), np.nan)
        compute = unknown if self.points.compute_flops is None else self.points.compute_flops
        columns = {**self.points.columns, "compute_flops": compute}
        ends = ("low", "median", "high")
        return pd.DataFrame(
            {
                "row": self.points.numbers,
                **columns,
                "interval": self.level,
                **{f"curve_{name}_nats": self.curve[i] for i, name in enumerate(ends)},
                **{f"run_{name}_nats": self.run[i] for i, name in enumerate(ends)},
                "extrapolates": self.extrapolates,
                **{f"{name}_beyond": self.beyond.get(name, unknown) for name in columns},
                "outside": [self.outside(i) for i in range(len(self.points))],
            }
        )


def forecast(
    posterior: Posterior,
    table: pd.DataFrame,
    level: float = 0.9,
    names: Mapping[str, str] | None = None,
    source: str = "table",
    flops_per_token: str = "",
    seed: int = 0,
) -> Forecast:
    """Predict the loss at each row of a table.

    names, flops_per_token: those of `moebook.bayes.quantities.take_points`; by default as the posterior's own
    table was read. seed: decides the noise of the single runs.
    Raises InputError for a row that cannot be used or an interval that the draws cannot tell, and
    FailedPosterior for a posterior that failed a gate.
    """
    require_passed(posterior.summary)
    draws = posterior.chains * posterior.data.posterior.sizes["draw"]
    widest = 1 - 2 * TAIL_DRAWS / draws
    if not 0 < level <= widest:
        raise InputError(
            f"forecast: --interval: {level:g}: must lie between 0 and {widest:.4g}, which {draws} draws "
            "can tell"
        )
    present = {str(column) for column in table.columns}
    read = {column["field"]: column["column"] for column in posterior.summary.get("columns", ())}
    names = {name: column for name, column in read.items() if column in present} | dict(names or {})
    for helper in ("loss", "loss_nats"):
        names.pop(helper, None)
    stored = posterior.summary.get("flops_per_token", "")
    by_column = stored and stored not in ("6N", "6NA") and stored not in present
    points = take_points(
        table, posterior.law, names, source, flops_per_token or ("" if by_column else stored)
    )
    surface = Surface(posterior, [points.columns[name] for name in posterior.law.columns], "posterior", True)
    curve = np.log(surface(slice(None)))
    quantiles = [(1 - level) / 2, 0.5, (1 + level) / 2]
    noisy = curve + posterior.noise(len(points), seed=seed)
    return Forecast(
        points=points,
        level=level,
        curve=np.exp(np.quantile(curve, quantiles, axis=0)),
        run=np.exp(np.quantile(noisy, quantiles, axis=0)),
        beyond=beyond(posterior, points),
    )


def beyond(posterior: Posterior, points: Points) -> dict[str, np.ndarray]:
    """How far points lie outside the fitted rows, {quantity: factor [points]}; see `Forecast`."""
    asked: dict[str, Any] = {**points.columns}
    fitted = {name: posterior.rows[name] for name in posterior.law.columns}
    if points.compute_flops is not None and posterior.compute_flops is not None:
        asked["compute_flops"], fitted["compute_flops"] = points.compute_flops, posterior.compute_flops
    factors = {}
    for name, values in asked.items():
        sizes, known = (1 / (1 - v) if name == "sparsity" else v for v in (values, fitted[name]))
        factor = np.where(sizes > known.max(), sizes / known.max(), np.minimum(sizes / known.min(), 1.0))
        near = (factor < BEYOND_FROM) & (factor > 1 / BEYOND_FROM)
        factors[name] = np.where(near, 1.0, factor)
    return factors
