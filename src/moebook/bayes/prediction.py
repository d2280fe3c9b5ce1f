"""The loss of runs that were not made, with intervals, and how far they lie beyond those that were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from moebook.bayes.comparison import compare
from moebook.bayes.gates import require_passed
from moebook.bayes.mixture import mixture, pooled
from moebook.bayes.posterior import Posterior
from moebook.bayes.quantities import Points, take_points
from moebook.errors import InputError

#: Draws that an interval must leave beyond each of its ends.
TAIL_DRAWS = 10
#: Nobody can tell an edge of the fitted range closer than this factor.
BEYOND_FROM = 1.001


@dataclass(frozen=True)
class Forecast:
    """Losses at new points [points], in nats.

    level: share of the belief inside an interval; curve [3, points]: low end, median, high end of the mean
    curve, the law with its misfit; run [3, points]: the same of a single new run, with its noise;
    weights: {posterior: share} where several were mixed; keys: of the points, where their table has a column
    `key`, by which the runs are found once they are made;
    beyond: {quantity: [points]} how far a point lies outside the fitted runs, as a factor: 1 inside, 3 three
    times above the largest, 1/3 three times below the smallest. Sparsity counts by 1/(1 - S).
    """

    points: Points
    level: float
    curve: np.ndarray
    run: np.ndarray
    beyond: dict[str, np.ndarray]
    weights: dict[str, float] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

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
                **({"key": self.keys} if self.keys else {}),
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
    posterior: Posterior | Mapping[str, Posterior],
    table: pd.DataFrame,
    level: float = 0.9,
    names: Mapping[str, str] | None = None,
    source: str = "table",
    flops_per_token: str = "",
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    group: str = "",
) -> Forecast:
    """Predict the loss at each row of a table.

    posterior: one, or several of the same rows by name, which are then mixed, so that no single law decides;
    weights: {name: share in the mixture}, by default those of stacking (`moebook.bayes.compare`).
    names, flops_per_token: those of `moebook.bayes.quantities.take_points`; by default as the posterior's own
    table was read. seed: that of `moebook.bayes.mixture.mixture`. group: for posteriors of grouped rows the
    column that says the group of each point; without it, or where it names another, the group is a new one.
    Raises InputError for a row that cannot be used, an interval that the draws cannot tell, or posteriors of
    different rows, and FailedPosterior for a posterior that failed a gate.
    """
    several = posterior if isinstance(posterior, Mapping) else {"": posterior}
    for one in several.values():
        require_passed(one.summary)
    draws = min(one.chains * one.data.posterior.sizes["draw"] for one in several.values())
    widest = 1 - 2 * TAIL_DRAWS / draws
    if not 0 < level <= widest:
        raise InputError(
            f"forecast: --interval: {level:g}: must lie between 0 and {widest:.4g}, which {draws} draws "
            "can tell"
        )
    shares = dict.fromkeys(several, 1.0)
    if len(several) > 1:
        shares = dict(compare(several).weights if weights is None else weights)
    if set(shares) != set(several) or not np.isclose(sum(shares.values()), 1.0):
        raise InputError(f"forecast: weights: {shares}: must be one for each posterior, and sum to one")
    asked = {
        name: _points_for(one, table, names, source, flops_per_token) for name, one in several.items()
    }

    groups = _groups_of(table, group, several, source) if group else None

    def mixed(noise: bool) -> np.ndarray:
        parts = [
            mixture(
                one, at.columns, noise=noise, seed=seed, compute_flops=at.compute_flops, groups=groups
            )
            for at, one in zip(asked.values(), several.values(), strict=True)
        ]
        ends = [(1 - level) / 2, 0.5, (1 + level) / 2]
        return np.exp(pooled(parts, [shares[name] for name in several]).quantile(ends))

    outside: dict[str, np.ndarray] = {}
    for name, one in several.items():
        outside |= beyond(one, asked[name])
    return Forecast(
        points=_together(list(asked.values())),
        level=level,
        curve=mixed(noise=False),
        run=mixed(noise=True),
        beyond=outside,
        weights=shares if len(several) > 1 else {},
        keys=tuple(table["key"].astype(str)) if "key" in table else (),
    )


def _points_for(
    posterior: Posterior,
    table: pd.DataFrame,
    names: Mapping[str, str] | None,
    source: str,
    flops_per_token: str,
) -> Points:
    """What a posterior's law reads from a table, by default as the posterior's own was read."""
    present = {str(column) for column in table.columns}
    read = {column["field"]: column["column"] for column in posterior.summary.get("columns", ())}
    names = {name: column for name, column in read.items() if column in present} | dict(names or {})
    for helper in ("loss", "loss_nats"):
        names.pop(helper, None)
    stored = posterior.summary.get("flops_per_token", "")
    by_column = stored and stored not in ("6N", "6NA") and stored not in present
    convention = flops_per_token or ("" if by_column else stored)
    return take_points(table, posterior.law, names, source, convention)


def _groups_of(
    table: pd.DataFrame, column: str, posteriors: Mapping[str, Posterior], source: str
) -> list[str]:
    """The group of each row, as text."""
    if column not in table.columns:
        there = ", ".join(map(str, table.columns))
        raise InputError(f"{source}: --group: {column}: no such column; there are {there}")
    if not any("group_offset" in one.data.posterior for one in posteriors.values()):
        raise InputError(f"forecast: --group: {column}: the posterior was fitted without groups")
    return table[column].map(str).tolist()


def _together(read: list[Points]) -> Points:
    """The same rows as several laws read them, as one: with the columns of all."""
    first, *others = read
    columns, derived = dict(first.columns), list(first.derived)
    for points in others:
        columns = {**points.columns, **columns}
        derived += [line for line in points.derived if line not in derived]
    compute = next((points.compute_flops for points in read if points.compute_flops is not None), None)
    return replace(first, columns=columns, compute_flops=compute, derived=tuple(derived))


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
