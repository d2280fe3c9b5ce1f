"""What a truth is ranked in: numbers that can be computed from one draw and the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from moebook.bayes.data import SIZES, Rows
from moebook.bayes.posterior import Posterior
from moebook.laws import Law

#: {name: [draws]} of a posterior, the same names for every posterior of one design. Frozen dataclasses, so
#: that they can be sent to other processes and hashed with all else that decides the ranks.
Quantity = Callable[[Posterior], dict[str, np.ndarray]]

SCALES = ("discrepancy_scale", "noise_scale", "tail", "group_scale")
#: Times the largest budget at which forecasts are ranked.
BEYOND = (3.0, 10.0)


@dataclass(frozen=True)
class Coefficients:
    """Totals, scales, and the raw coefficients that the totals make."""

    def __call__(self, posterior: Posterior) -> dict[str, np.ndarray]:
        totals = posterior.totals()
        scales = {name: posterior.draws(name) for name in SCALES if name in posterior.data.posterior}
        raw = {name: v for name, v in posterior.coefficients().items() if name not in totals}
        several = len(totals["level"]) > 1  # a coefficient that the law fixes has no rank
        return {**totals, **{n: v for n, v in raw.items() if not several or np.ptp(v) > 0}, **scales}


@dataclass(frozen=True)
class Likelihood:
    """Log density of the runs given the whole draw, and with the misfit integrated out (normal noise).

    Computed from dense covariances, not with the formulas of the model.
    """

    def __call__(self, posterior: Posterior) -> dict[str, np.ndarray]:
        scale = posterior.noise_scale(compute_flops=posterior.compute_flops)
        residual = posterior.residual(misfit=True)
        if "tail" in posterior.data.posterior:
            degrees = 1 / posterior.draws("tail")[:, None]
            return {"log likelihood": stats.t.logpdf(residual, degrees, scale=scale).sum(axis=1)}
        density = stats.norm.logpdf(residual, scale=scale).sum(axis=1)
        phi = posterior.basis(*(posterior.rows[name] for name in posterior.law.columns))
        tau = posterior.draws("discrepancy_scale")[:, None, None]
        noise = np.broadcast_to(scale, residual.shape)[:, :, None] ** 2 * np.eye(residual.shape[1])
        covariance = noise + tau**2 * (phi @ phi.T)
        residual = posterior.residual(misfit=False)
        solved = np.linalg.solve(covariance, residual[:, :, None])[:, :, 0]
        logs = np.linalg.slogdet(2 * np.pi * covariance)[1]
        marginal = -(logs + (residual * solved).sum(axis=1)) / 2
        return {"log likelihood": density, "log likelihood, misfit integrated out": marginal}


@dataclass(frozen=True)
class Forecasts:
    """Log loss of the mean curve, misfit included, at named points, and the misfit alone at the last.

    points: ((name, ((column, value), ...)), ...).
    """

    points: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]

    def __call__(self, posterior: Posterior) -> dict[str, np.ndarray]:
        columns = {
            column: np.array([dict(values)[column] for _, values in self.points])
            for column in posterior.law.columns
        }
        logs = np.log(posterior.predict(**columns))
        law = np.log(posterior.predict(**columns, discrepancy=False))
        found = {f"log loss, {name}": logs[:, i] for i, (name, _) in enumerate(self.points)}
        return {**found, f"misfit, {self.points[-1][0]}": (logs - law)[:, -1]}

    @classmethod
    def of(cls, law: Law, rows: Rows) -> Forecasts:
        """At the centre, the cheapest and the costliest run, and beyond it, at both ends of sparsity."""
        sizes = [name for name in law.columns if name in SIZES]
        compute = rows.points.compute_flops
        if compute is None:
            compute = np.prod([rows.columns[name] for name in sizes], axis=0)
        centre = law.centre(law.units(*rows.ordered(law)))
        points: dict[str, dict[str, Any]] = {"centre": dict(zip(law.columns, centre, strict=True))}

        def row(chosen: np.ndarray, last: bool) -> dict[str, float]:
            cost = np.where(chosen, compute, -np.inf if last else np.inf)
            number = int(cost.argmax() if last else cost.argmin())
            return {name: float(rows.columns[name][number]) for name in law.columns}

        every = np.ones(len(rows), bool)
        points |= {"cheapest run": row(every, False), "costliest run": row(every, True)}
        ends = {"": every}
        if "sparsity" in law.columns and np.ptp(rows.columns["sparsity"]) > 0:
            sparsity = rows.columns["sparsity"]
            ends = {f", S = {s:.4g}": sparsity == s for s in (sparsity.min(), sparsity.max())}
        for times in BEYOND:
            for label, chosen in ends.items():
                start = row(chosen, True)
                grown = {name: start[name] * times ** (1 / len(sizes)) for name in sizes}
                points[f"{times:g} x the budget{label}"] = {**start, **grown}
        return cls(
            tuple(
                (name, tuple((c, float(values[c])) for c in law.columns)) for name, values in points.items()
            )
        )


def standard(law: Law, rows: Rows) -> tuple[Quantity, ...]:
    """What every law is ranked in."""
    return Coefficients(), Likelihood(), Forecasts.of(law, rows)
