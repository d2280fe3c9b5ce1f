"""A linear regression with shared deviations, and its posterior without a sampler.

    y_i = sum_j x_ij b_j + u_g(i) + e_i,   u_g ~ N(0, w s^2),  e_i ~ N(0, (1 - w) s^2)

Flat priors on b, p(s) = 1/s, and w, the share of the variance that rows of one group have in common, uniform
between 0 and 1. Given w everything is a textbook case (Gelman et al., Bayesian Data Analysis, section 14.2:
a Student t for each b); w itself is summed over nodes of a quadrature. So the posterior of a coefficient is a
mixture of Student t's, exact but for the quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize, stats

from moebook.errors import InputError

NODES = 32


@dataclass(frozen=True)
class Coefficient:
    """A mixture of Student t distributions of one number of degrees of freedom.

    weights, means, scales [nodes]; freedom: degrees of freedom.
    """

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    freedom: int

    @property
    def mean(self) -> float:
        return float(self.weights @ self.means)

    def below(self, value: float) -> float:
        """The probability that it is smaller than this."""
        return float(self.weights @ stats.t.cdf((value - self.means) / self.scales, self.freedom))

    def quantile(self, share: float) -> float:
        """The value below which it lies with this probability, between 0 and 1."""
        ends = self.means + self.scales * stats.t.ppf(share, self.freedom)
        step = float(self.scales.max()) * 1e-6
        low, high = float(ends.min()), float(ends.max())
        while self.below(low) > share:  # the ends are exact only but for rounding
            low, step = low - step, 2 * step
        while self.below(high) < share:
            high, step = high + step, 2 * step
        near = 1e-13 * float(self.scales.max())
        if high - low <= near:
            return low
        return float(optimize.brentq(lambda x: self.below(x) - share, low, high, xtol=near))

    def widened(self, variance: float) -> Coefficient:
        """The same with a further variance, independent of what is in it; a Student t stays one."""
        return Coefficient(self.weights, self.means, np.sqrt(self.scales**2 + variance), self.freedom)

    def times(self, factor: float) -> Coefficient:
        """The same for a multiple of it; the factor is not 0."""
        return Coefficient(self.weights, factor * self.means, abs(factor) * self.scales, self.freedom)


@dataclass(frozen=True)
class Regression:
    """weights [nodes]; means, scales [nodes, columns] of the coefficients; share: mean of w."""

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    freedom: int
    share: float

    def coefficient(self, column: int) -> Coefficient:
        return Coefficient(self.weights, self.means[:, column], self.scales[:, column], self.freedom)

    @property
    def mean(self) -> np.ndarray:
        """Posterior means of the coefficients [columns]."""
        return self.weights @ self.means


def regress(x: np.ndarray, y: np.ndarray, groups: Sequence[Any]) -> Regression:
    """The posterior of the coefficients of the columns of x [rows, columns], for y [rows].

    groups [rows]: rows of one value share a deviation. Raises InputError where the rows do not tell the
    columns apart, or are not more than these by three.
    """
    rows, columns = x.shape
    if rows < columns + 3:
        raise InputError(f"runs: {rows}: too few for {columns} coefficients")
    size = np.abs(x).max(axis=0)
    if not size.all() or np.linalg.matrix_rank(x / size) < columns:
        raise InputError("runs: do not vary in enough ways to tell what does what")
    x = x / size
    _, group, members = np.unique([str(g) for g in groups], return_inverse=True, return_counts=True)
    nodes, widths = np.polynomial.legendre.leggauss(NODES)
    shares, freedom = (nodes + 1) / 2, rows - columns
    log_weights, means, scales = np.empty(NODES), np.empty((NODES, columns)), np.empty((NODES, columns))
    for i, share in enumerate(shares):
        own, mean = 1 - share, 1 - share + share * members  # eigenvalues of a group's covariance
        white_x, white_y = (_whitened(v, group, members, own, mean) for v in (x, y))
        q, r = np.linalg.qr(white_x)
        means[i] = linalg.solve_triangular(r, q.T @ white_y)
        left = float(np.sum((white_y - white_x @ means[i]) ** 2))
        inverse = linalg.solve_triangular(r, np.eye(columns))
        scales[i] = np.sqrt(left / freedom * np.sum(inverse**2, axis=1))
        log_determinants = ((members - 1) * np.log(own) + np.log(mean)).sum() / 2
        log_determinants += np.log(np.abs(np.diag(r))).sum()
        log_weights[i] = np.log(widths[i]) - log_determinants - freedom / 2 * np.log(left)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return Regression(weights, means / size, scales / size, freedom, float(weights @ shares))


def _whitened(
    v: np.ndarray, group: np.ndarray, members: np.ndarray, own: float, mean: np.ndarray
) -> np.ndarray:
    """v [rows, ...] times a root of the inverse covariance: in each group the deviations from its mean by one
    factor, the mean by another."""
    sums = np.zeros((len(members), *v.shape[1:]))
    np.add.at(sums, group, v)
    middle = (sums.T / members).T
    return (v - middle[group]) / np.sqrt(own) + (middle.T / np.sqrt(mean)).T[group]
