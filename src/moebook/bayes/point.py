"""A law fitted to one point: least squares or Huber on log loss, from many starts, with errors of two kinds.

What papers do, for comparison with what they print. A point fit knows the scatter about its own curve and
nothing of how wrong the curve is beyond the data, where its intervals fall far short: for that there is
`bayes.fit`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize, stats

from moebook.bayes.priors import Priors
from moebook.errors import InputError
from moebook.laws import Law, Prior

LN_10 = float(np.log(10.0))
STEP = 1e-100  # of the complex step: exact to rounding, as nothing is subtracted
# Two starts that end this near each other, in log loss per row squared, are at the same optimum.
SAME = 1e-10


@dataclass(frozen=True)
class PointFit:
    """The best coefficients of a law on some rows, and how well they are known.

    coefficients: {name: value} for plain columns; covariance [coefficients, coefficients]: the inverse of the
    curvature times the residuals' variance, true where they are independent and alike (`bootstrap` asks for
    less); residuals [rows]: log observed less log fitted loss; objective: what was minimised, per row;
    totals: the optimum in the law's totals; agreeing: share of the starts that ended there.
    """

    law: Law
    coefficients: dict[str, float]
    totals: dict[str, float]
    covariance: np.ndarray
    residuals: np.ndarray
    objective: float
    agreeing: float

    @cached_property
    def standard_errors(self) -> dict[str, float]:
        """Standard error of each coefficient."""
        return dict(zip(self.law.coefficients, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def log_standard_error(self, name: str) -> float:
        """Standard error of the logarithm of a positive coefficient."""
        return self.standard_errors[name] / self.coefficients[name]

    @property
    def rmse(self) -> float:
        """Root mean square of the residuals of log10 loss."""
        return float(np.sqrt(np.mean(self.residuals**2)) / LN_10)

    def predict(self, table: Mapping[str, Any]) -> np.ndarray:
        """Loss in nats [rows] at the law's columns of another table."""
        return self.law(self.coefficients, *_columns(self.law, table))


def point_fit(
    law: Law,
    table: Mapping[str, Any],
    *,
    huber: float | None = None,
    starts: int = 16,
    seed: int = 0,
) -> PointFit:
    """Fit `law` to `table` (a DataFrame, or columns by name, with `loss_nats`).

    Minimises the mean of r^2 / 2, r = log observed less log fitted loss (natural), or with `huber` that of
    Huber's function, which grows as huber |r| beyond |r| = huber. Searches in the law's identified totals,
    from `starts` points of their priors, without a pull towards the prior. The same seed, the same fit.
    Raises InputError naming the column that the table lacks, or where there are fewer rows than coefficients.
    """
    columns, loss_nats = _columns(law, table), _column(law, table, "loss_nats")
    problem = _Problem(law, columns, loss_nats)
    ends = [_descend(problem, start, huber) for start in problem.starts(starts, seed)]
    values = np.array([_objective(problem.residuals(end), huber) for end in ends])
    values[~np.isfinite(values)] = np.inf
    best = int(np.argmin(values))
    coefficients = problem.coefficients(ends[best])
    residuals = problem.residuals(ends[best])
    return PointFit(
        law=law,
        coefficients=coefficients,
        totals={name: float(value) for name, value in problem.totals(ends[best]).items()},
        covariance=_covariance(law, coefficients, columns, residuals, huber),
        residuals=residuals,
        objective=float(values[best]),
        agreeing=float(np.mean(values <= values[best] + SAME)),
    )


def bootstrap(
    fit: PointFit,
    table: Mapping[str, Any],
    *,
    huber: float | None = None,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Coefficients {name: [draws]} of fits to rows drawn again with replacement, each started from `fit`.

    table and huber: those of the fit. Asks only that rows are exchangeable, so that scatter which differs
    from place to place is in the result; misfit that neighbours share is not.
    """
    whole = _Problem(fit.law, _columns(fit.law, table), _column(fit.law, table, "loss_nats"))
    start, rng = whole.free(fit.totals), np.random.default_rng(seed)
    count, found = len(whole.observed), []
    for _ in range(draws):
        problem = whole.of_rows(rng.integers(0, count, count))
        end = _to_huber(problem, start, huber) if huber else _to_least_squares(problem, start)
        found.append(problem.coefficients(end))
    return {name: np.array([one[name] for one in found]) for name in fit.law.coefficients}


def stated_priors(law: Law, priors: Priors | None = None) -> dict[str, Prior]:
    """The prior of each total: that of the law's file, or for the older laws those of `Priors`."""
    if law.priors:
        return dict(law.priors)
    p = priors or Priors()
    exponent = Prior("lognormal", p.exponent_median, p.exponent_spread)
    tilt = Prior("normal", 0.0, p.tilt_spread)
    by_name = {
        "level": Prior("lognormal", 1.0, p.level_spread),
        "data_share": Prior("logitnormal", p.data_share_median, p.share_spread),
        "gamma": Prior("lognormal", p.exponent_median * p.ratio_median, p.exponent_spread),
        **dict.fromkeys(("alpha", "beta"), exponent),
        **dict.fromkeys(("lambda", "delta"), tilt),
    }
    return {name: by_name.get(name, Prior("logitnormal", 0.5, p.share_spread)) for name in law.totals}


class _Problem:
    """Residuals of log loss as a function of the totals' free coordinates, any real numbers."""

    def __init__(self, law: Law, columns: list[np.ndarray], loss_nats: np.ndarray) -> None:
        if len(loss_nats) <= len(law.coefficients):
            raise InputError(
                f"rows: {len(loss_nats)}: the law {law.name} has {len(law.coefficients)} coefficients"
            )
        self.units = law.units(*columns)
        self.law = law.at(self.units)
        self.columns = self.law.in_units(self.units, *columns)
        self.observed = np.log(loss_nats)
        self.mean_loss = np.exp(self.observed.mean())
        self.priors = stated_priors(law)

    def starts(self, count: int, seed: int) -> np.ndarray:
        """[count, totals]: the prior medians, then points spread over the priors."""
        normal = stats.qmc.MultivariateNormalQMC(np.zeros(len(self.priors)), rng=seed)
        normal = normal.random(2 ** int(np.ceil(np.log2(count))))[:count]
        normal[0] = 0
        priors = self.priors.values()
        medians = np.array([prior.free(prior.median) for prior in priors])
        return medians + normal * np.array([prior.spread for prior in priors])

    def of_rows(self, rows: np.ndarray) -> _Problem:
        """The problem of some of the rows, or of some twice; in the same units."""
        part = copy.copy(self)
        part.columns, part.observed = [values[rows] for values in self.columns], self.observed[rows]
        return part

    def free(self, totals: Mapping[str, float]) -> np.ndarray:
        """The free coordinates of totals: the inverse of `totals`."""
        plain = {**totals, "level": totals["level"] / self.mean_loss}
        return np.array([prior.free(plain[name]) for name, prior in self.priors.items()])

    def totals(self, free: np.ndarray) -> dict[str, Any]:
        made = {name: prior.value(x) for (name, prior), x in zip(self.priors.items(), free, strict=True)}
        return {**made, "level": made["level"] * self.mean_loss}

    def coefficients(self, free: np.ndarray) -> dict[str, float]:
        """For plain columns."""
        found = self.law.rescale(self.law.from_totals(self.totals(free)), self.units)
        return {name: float(found[name]) for name in self.law.coefficients}

    def residuals(self, free: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # a step too far is infinitely bad, not an error
            fitted = self.law(self.law.from_totals(self.totals(free)), *self.columns)
            return self.observed - np.log(fitted)

    def jacobian(self, free: np.ndarray) -> np.ndarray:
        """d residuals / d free [rows, totals]."""
        moved = free[:, None] + 1j * STEP * np.eye(len(free))  # [totals, which of them moves]
        return self.residuals(moved[..., None]).imag.T / STEP


def _descend(problem: _Problem, start: np.ndarray, huber: float | None) -> np.ndarray:
    """The end of a descent from anywhere: to least squares, and from there to Huber's optimum."""
    end = _to_least_squares(problem, start)
    return end if huber is None else _to_huber(problem, end, huber)


def _to_least_squares(problem: _Problem, start: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return optimize.least_squares(
            lambda x: _finite(problem.residuals(x)),
            start,
            jac=lambda x: _finite(problem.jacobian(x)),
            x_scale=np.array([prior.spread for prior in problem.priors.values()]),
            max_nfev=300,
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        ).x


def _to_huber(problem: _Problem, start: np.ndarray, huber: float) -> np.ndarray:
    """By BFGS in coordinates in which the curvature of least squares at the start is the identity."""
    triangle = np.linalg.qr(_finite(problem.jacobian(start)) / np.sqrt(len(problem.observed)), mode="r")
    back = np.linalg.pinv(triangle, rcond=1e-12)

    def value_and_slope(y: np.ndarray) -> tuple[float, np.ndarray]:
        x = start + back @ y
        r = _finite(problem.residuals(x))
        slope = np.clip(r, -huber, huber) @ _finite(problem.jacobian(x)) @ back / len(r)
        return _objective(r, huber) / huber, slope / huber

    end = optimize.minimize(
        value_and_slope, np.zeros(len(start)), jac=True, method="BFGS", options={"gtol": 1e-6}
    )
    return start + back @ end.x


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, nan=1e3, posinf=1e3, neginf=-1e3)


def _objective(residuals: np.ndarray, huber: float | None) -> float:
    size = np.abs(residuals)
    if huber is None:
        return float(np.mean(size**2) / 2)
    return float(np.mean(np.where(size <= huber, size**2 / 2, huber * (size - huber / 2))))


def _covariance(
    law: Law,
    coefficients: dict[str, float],
    columns: list[np.ndarray],
    residuals: np.ndarray,
    huber: float | None,
) -> np.ndarray:
    """Of the coefficients: v (J'J)^-1, J of log loss, v the variance of a residual as the fit weighs it."""
    slopes = law.gradient(coefficients, *columns)
    fitted = law(coefficients, *columns)
    jacobian = np.stack([slopes[name] / fitted for name in law.coefficients], axis=1)
    rows, count = jacobian.shape
    if huber is None:
        variance = np.sum(residuals**2) / (rows - count)
    else:  # Huber 1964: E psi^2 / (E psi')^2
        psi = np.clip(residuals, -huber, huber)
        variance = np.sum(psi**2) / (rows - count) / np.mean(np.abs(residuals) <= huber) ** 2
    scale = np.linalg.norm(jacobian, axis=0)
    inverse = np.linalg.pinv((jacobian / scale).T @ (jacobian / scale), rcond=1e-15, hermitian=True)
    return variance * inverse / np.outer(scale, scale)


def _columns(law: Law, table: Mapping[str, Any]) -> list[np.ndarray]:
    return [_column(law, table, name) for name in law.columns]


def _column(law: Law, table: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in table:
        raise InputError(f"{name}: no such column; the law {law.name} reads {', '.join(law.columns)}")
    values = np.asarray(table[name], dtype=float)
    if not np.isfinite(values).all():
        raise InputError(
            f"{name}: {values[~np.isfinite(values)][0]}: the law {law.name} needs a number in every row"
        )
    return values
