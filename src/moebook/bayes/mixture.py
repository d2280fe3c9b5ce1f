"""The forecast of log loss: a weighted mixture of normals, one a draw; nothing is smoothed, no noise drawn.

With normal noise the weights w of the misfit are normal given all else of a draw, with mean and variance as
in `weights.conditional`. So log loss at a new point is, given draw k, normal too:

    mean_k = log law + tau phi mean(w),   variance_k = tau^2 sum_j phi_j^2 var(w_j)  (+ sigma^2 for one run).

Inflation: beyond the data laws are wrong by more than their misfit inside says. How much more was learnt on
tables of many sources: with M the average of mean_k and log u_k ~ Normal(log median, spread^2), one u a draw,

    mean_k -> M + u_k (mean_k - M),   misfit's variance -> u_k^2 of it,   noise stays.

Median and spread are those of the posterior's own priors; one that was stored without them is not inflated.

With Student-t noise the weights are not normal, so that each draw counts with the weights drawn with it: a
component is the t of its noise, and without noise a single value, which has no density.

All is on log loss (natural logarithm of nats): .01 is one percent of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special, stats
from scipy.optimize import elementwise

from moebook.bayes.discrepancy import rotation_over
from moebook.bayes.posterior import Posterior
from moebook.bayes.weights import conditional

NODES = 1000  # of the integral in `_spread`
FAR = 14.0  # asinh of how many scales that integral reaches on either side
BLOCK = 2**22  # components times points that are worked on at once


@dataclass(frozen=True)
class Mixture:
    """A distribution of log loss at each of some points.

    mean, sd [components, points]: of the components; with a tail, centre and scale of a Student-t; an sd of
    zero is a single value. weight [components]: sums to one. tail [components]: one over the degrees of
    freedom, below 1; zero: the component is normal.
    """

    mean: np.ndarray
    sd: np.ndarray
    weight: np.ndarray
    tail: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        sd = np.broadcast_to(self.sd, self.mean.shape)
        tail = np.broadcast_to(self.tail, self.weight.shape)
        if self.weight.shape != self.mean.shape[:1] or not np.isclose(self.weight.sum(), 1.0):
            raise ValueError("mixture: weight: must be one a component, and sum to one")
        if not (np.isfinite(self.mean).all() and (sd >= 0).all() and (tail >= 0).all() and (tail < 1).all()):
            raise ValueError("mixture: means must be finite, deviations not negative, tails in [0, 1)")
        object.__setattr__(self, "sd", sd)
        object.__setattr__(self, "tail", tail)

    @property
    def points(self) -> int:
        """Number of points."""
        return self.mean.shape[1]

    def average(self) -> np.ndarray:
        """Mean of the mixture [points]."""
        return self.weight @ self.mean

    def cdf(self, log_loss: np.ndarray) -> np.ndarray:
        """P(a value <= log_loss) at log_loss [points] [points]."""
        return self._cdf(np.asarray(log_loss, dtype=float), np.arange(self.points))

    def pit(self, log_loss: np.ndarray) -> np.ndarray:
        """Where in the forecast what happened lies [points]: uniform on [0, 1] if the forecasts are right."""
        return self.cdf(log_loss)

    def log_density(self, log_loss: np.ndarray) -> np.ndarray:
        """Log density at log_loss [points] [points]; ValueError where a component is a single value."""
        if not (self.sd > 0).all():
            raise ValueError("mixture: a component without a deviation has no density")
        z = (np.asarray(log_loss, dtype=float) - self.mean) / self.sd
        density = _by_kind(self.tail, z, stats.norm.logpdf, stats.t.logpdf) - np.log(self.sd)
        return special.logsumexp(density, axis=0, b=self.weight[:, None])

    def quantile(self, levels: Sequence[float] | float) -> np.ndarray:
        """Values below which lies so much [levels, points], to 1e-12."""
        levels = np.atleast_1d(np.asarray(levels, dtype=float))
        found = np.empty((len(levels), self.points))
        for row, level in zip(found, levels, strict=True):
            own = self.mean + self.sd * _standard_quantile(self.tail, level)[:, None]
            # The mixture's lies between the least and the largest of its components.
            low, high = own.min(axis=0) - 1e-9, own.max(axis=0) + 1e-9
            solved = elementwise.find_root(
                lambda x, i, p=level: self._cdf(x, i.astype(int)) - p,
                (low, high),
                args=(np.arange(self.points),),
                tolerances={"xatol": 1e-12, "xrtol": 0.0},
            )
            if not solved.success.all():
                raise RuntimeError(f"mixture: quantile {level}: not found")
            row[:] = solved.x
        return found

    def interval(self, level: float) -> np.ndarray:
        """Ends of the central interval that holds `level` [2, points]."""
        return self.quantile([(1 - level) / 2, (1 + level) / 2])

    def crps(self, log_loss: np.ndarray) -> np.ndarray:
        """Continuous ranked probability score at log_loss [points] [points]; less is better.

        E|X - y| - E|X - X'| / 2. For normals both are known, the second for each pair of components
        (Grimit et al. 2006): a million pairs a point for a thousand draws, some hundredths of a second. With
        tails the second is integrated (`_spread`), to a thousandth where components are many.
        """
        first = self.weight @ self._distance(np.asarray(log_loss, dtype=float))
        if (self.tail > 0).any():
            return first - self._spread()
        return first - np.array([self._spread_of_normals(point) for point in range(self.points)])

    def _spread_of_normals(self, point: int) -> float:
        """E|X - X'| / 2 at one point, X and X' drawn apart."""
        mean, sd, weight = self.mean[:, point], self.sd[:, point], self.weight
        total, rows = 0.0, max(1, BLOCK // 64 // len(mean))
        for start in range(0, len(mean), rows):
            these, rest = slice(start, start + rows), slice(start, None)  # pairs before were counted twice
            off = mean[these, None] - mean[rest]
            both = np.sqrt(sd[these, None] ** 2 + sd[rest] ** 2)
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = both * _normal_distance(off / both)
            distance = np.where(both > 0, distance, np.abs(off))
            twice = np.where(np.arange(distance.shape[1]) < rows, 1.0, 2.0)
            total += float(weight[these] @ distance @ (twice * weight[rest]))
        return total / 2

    def _spread(self) -> np.ndarray:
        """The same at all points [points]: the integral of F (1 - F), by the trapezoidal rule in t,
        x = median + scale sinh t."""
        low, middle, high = self.quantile([0.25, 0.5, 0.75])
        scale = np.maximum((high - low) / 2, 1e-12)
        t = np.linspace(-FAR, FAR, NODES)
        every, spread = np.arange(self.points), np.zeros(self.points)
        for node in t:
            below = self._cdf(middle + scale * np.sinh(node), every)
            spread += below * (1 - below) * np.cosh(node)
        return spread * scale * (t[1] - t[0])

    def _cdf(self, x: np.ndarray, points: np.ndarray) -> np.ndarray:
        """P(a value <= x) [n] of the points whose numbers are `points` [n]."""
        found = np.empty(len(points))
        block = max(1, BLOCK // len(self.weight))
        for start in range(0, len(points), block):
            part = slice(start, start + block)
            off, sd = x[part] - self.mean[:, points[part]], self.sd[:, points[part]]
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.where(sd > 0, off / sd, np.where(off >= 0, np.inf, -np.inf))
            found[part] = self.weight @ _by_kind(self.tail, z, special.ndtr, stats.t.cdf)
        return found

    def _distance(self, y: np.ndarray) -> np.ndarray:
        """E|X - y| of each component [components, points]."""
        off = y - self.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            z = off / self.sd
        distance = self.sd * _by_kind(self.tail, z, _normal_distance, _t_distance)
        return np.where(self.sd > 0, distance, np.abs(off))


def pooled(mixtures: Sequence[Mixture], weights: Sequence[float]) -> Mixture:
    """Mixtures at the same points as one, each with its weight."""
    return Mixture(
        np.concatenate([one.mean for one in mixtures]),
        np.concatenate([one.sd for one in mixtures]),
        np.concatenate([w * one.weight for one, w in zip(mixtures, weights, strict=True)]),
        np.concatenate([one.tail for one in mixtures]),
    )


def mixture(
    posterior: Posterior,
    columns: Mapping[str, Any],
    inflation: bool = True,
    noise: bool = True,
    seed: int = 0,
    compute_flops: np.ndarray | None = None,
    groups: Sequence[str | None] | None = None,
) -> Mixture:
    """What a posterior says of log loss at columns {column of its law: [points]}, as in the module's text.

    inflation: widen by what was learnt of other tables; noise: of one new run, else of the mean curve;
    seed: decides which draw is inflated how far, and hardly matters; compute_flops [points]: for noise that
    changes with compute; groups [points]: for a pooled posterior the group of each point, None for one that
    it has not seen (all points, if left out), whose offset is then as unknown as the groups' scale says.
    """
    columns = {name: np.atleast_1d(np.asarray(columns[name], dtype=float)) for name in posterior.law.columns}
    robust = "tail" in posterior.data.posterior
    mean = np.log(posterior.surface(**columns, discrepancy=robust)(slice(None)))
    variance = np.zeros(mean.shape)
    if not robust:
        misfit, variance = misfit_of(posterior, columns)
        mean = mean + misfit
    if "group_offset" in posterior.data.posterior:
        offset, unknown = _offsets(posterior, groups or [None] * mean.shape[1])
        mean, variance = mean + offset, variance + unknown
    weight = np.full(len(mean), 1 / len(mean))
    factor = inflation_of(posterior, seed)[:, None] if inflation else 1.0
    middle = weight @ mean
    sigma = posterior.noise_scale(compute_flops=compute_flops) if noise else 0.0
    sd = np.sqrt(factor**2 * variance + sigma**2)
    tail = posterior.draws("tail") if robust and noise else np.zeros(1)
    return Mixture(middle + factor * (mean - middle), sd, weight, tail)


def misfit_of(posterior: Posterior, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the misfit at new points given all else of a draw [draws, points]; normal noise.

    With noise that changes with compute the rows count by it, and the functions that are orthogonal over
    them are other ones for each exponent.
    """
    basis, residual = posterior.basis, posterior.residual(misfit=False)
    rows = basis.raw(*(posterior.rows[name] for name in posterior.law.columns))
    new = basis.raw(*columns.values())
    tau, sigma = posterior.draws("discrepancy_scale"), posterior.draws("noise_scale")
    changes = "noise_exponent" in posterior.data.posterior
    exponent = posterior.draws("noise_exponent") if changes else np.zeros(len(tau))
    mean, variance = (np.empty((len(tau), len(new))) for _ in range(2))
    for h in np.unique(exponent):
        of, rotation, relative = exponent == h, basis.rotation, np.ones(len(rows))
        if changes:
            compute = np.log(posterior.compute_flops)
            relative = np.exp(-h * (compute - compute.mean()))
            rotation = rotation_over(rows / relative[:, None])
        phi, at = rows / relative[:, None] @ rotation, new @ rotation
        weights, spread = conditional(phi, residual[of] / relative, tau[of], sigma[of])
        mean[of] = tau[of, None] * (weights @ at.T)
        variance[of] = tau[of, None] ** 2 * (spread @ (at**2).T)
    return mean, variance


def _offsets(posterior: Posterior, groups: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of what being of a group adds, given a draw [draws, points]."""
    known = [str(name) for name in posterior.data.constant_data["group"].values]
    offset, scale = posterior.draws("group_offset"), posterior.draws("group_scale")
    seen = [known.index(name) if name in known else None for name in groups]
    mean = [np.zeros(len(scale)) if i is None else offset[:, i] for i in seen]
    variance = [scale**2 if i is None else np.zeros(len(scale)) for i in seen]
    return np.stack(mean, axis=1), np.stack(variance, axis=1)


def inflation_of(posterior: Posterior, seed: int = 0) -> np.ndarray:
    """u [draws]: evenly over its distribution, in an order that `seed` shuffles; 1 for an older posterior."""
    draws = posterior.chains * posterior.data.posterior.sizes["draw"]
    priors = posterior.summary.get("ingredients", {}).get("priors", {})
    if "inflation_median" not in priors:
        return np.ones(draws)
    normal = special.ndtri((np.arange(draws) + 0.5) / draws)
    shuffled = np.random.default_rng([seed, 4]).permutation(normal)
    return priors["inflation_median"] * np.exp(priors["inflation_spread"] * shuffled)


def _by_kind(tail: np.ndarray, z: np.ndarray, normal: Any, student: Any) -> np.ndarray:
    """A function of standardised values [components, points]: of normal components, and of the others."""
    heavy = tail > 0
    if not heavy.any():
        return normal(z)
    found = np.empty(z.shape)
    found[~heavy] = normal(z[~heavy])
    found[heavy] = student(z[heavy], 1 / tail[heavy, None])
    return found


def _standard_quantile(tail: np.ndarray, level: float) -> np.ndarray:
    """The quantile of each component at mean zero and scale one [components]."""
    found = np.full(tail.shape, special.ndtri(level))
    found[tail > 0] = stats.t.ppf(level, 1 / tail[tail > 0])
    return found


def _normal_distance(z: np.ndarray) -> np.ndarray:
    """E|Z - z|, Z standard normal."""
    return z * special.erf(z / np.sqrt(2)) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)


def _t_distance(z: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """E|T - z|, T a Student-t of more than one degree of freedom."""
    density = 2 * stats.t.pdf(z, freedom) * (freedom + z**2) / (freedom - 1)
    return z * (2 * stats.t.cdf(z, freedom) - 1) + density
