"""How a law may be wrong: a smooth random function of (log N, log D, -log(1 - S)) with a finite basis.

A stationary Gaussian process is, for any finite set of frequencies drawn from its spectral density,
close to sum_j (w_j cos(f_j z) + v_j sin(f_j z)) with standard normal weights (Rahimi and Recht 2007). Here

- the kernel is Matern-5/2, averaged over a log-normal prior of its length scale, so that the basis is fixed;
- the frequencies are one fixed quasi-random sequence pushed through the quantile functions, so that they
  depend on no seed;
- the prior variance is one everywhere, far from the data too: away from them the law is *not* trusted more;
- the weights are rotated so that the basis functions are uncorrelated over the fitted rows, which lets the
  sampler walk through them with a diagonal metric.

A draw of the weights is a function that can be evaluated anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

LOG_SCALED = {"params", "tokens"}  # the other axis, sparsity, enters as -log(1 - S)


def axis(column: str, values: np.ndarray) -> np.ndarray:
    """The coordinate along which misfit is smooth: a logarithm for sizes, -log(1 - S) for sparsity."""
    values = np.asarray(values, dtype=float)
    return np.log(values) if column in LOG_SCALED else -np.log1p(-values)


@dataclass(frozen=True)
class Basis:
    """phi(columns) [points, functions]; built from the fitted rows by `fitted_basis`.

    columns: names, in the order of the law; centre, scale: mean and standard deviation of each axis over
    the fitted rows; frequencies [pairs, axes]; rotation [functions, functions], orthogonal.
    """

    columns: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    frequencies: np.ndarray
    rotation: np.ndarray

    def raw(self, *columns: np.ndarray) -> np.ndarray:
        """The basis before its rotation [points, functions]; rows have unit length."""
        z = np.stack(
            [axis(name, values) for name, values in zip(self.columns, columns, strict=True)], axis=-1
        )
        angles = ((z - self.centre) / self.scale) @ self.frequencies.T
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) / np.sqrt(len(self.frequencies))

    def __call__(self, *columns: np.ndarray) -> np.ndarray:
        """phi [points, functions] at columns [points]; each row has length one: prior variance one."""
        return self.raw(*columns) @ self.rotation


def frequencies(pairs: int, axes: int, length: float, length_spread: float) -> np.ndarray:
    """[pairs, axes] frequencies of a Matern-5/2 kernel whose length scale is log-normal.

    length: median length scale in standard deviations of the data; length_spread: its spread in logs.
    A Matern-nu spectral density is a multivariate Student-t with 2 nu degrees of freedom.
    """
    u = stats.qmc.Sobol(axes + 2, rng=1).random_base2(int(np.ceil(np.log2(pairs))))[:pairs]
    normal = stats.norm.ppf(u[:, :axes])
    chi = np.sqrt(stats.chi2.ppf(u[:, axes], df=5) / 5)
    lengths = length * np.exp(length_spread * stats.norm.ppf(u[:, axes + 1]))
    return normal / (chi * lengths)[:, None]


def fitted_basis(
    columns: tuple[str, ...], values: list[np.ndarray], pairs: int, length: float, length_spread: float
) -> Basis:
    """The basis for the fitted rows: axes standardised by them, functions uncorrelated over them."""
    z = np.stack([axis(name, v) for name, v in zip(columns, values, strict=True)], axis=-1)
    scale = z.std(axis=0)
    scale[scale == 0] = 1.0  # a column that does not vary has no misfit to learn
    start = Basis(
        columns,
        z.mean(axis=0),
        scale,
        frequencies(pairs, len(columns), length, length_spread),
        np.eye(2 * pairs),
    )
    _, vectors = np.linalg.eigh(start.raw(*values).T @ start.raw(*values))
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(2 * pairs)])
    return Basis(columns, start.centre, scale, start.frequencies, (vectors * signs)[:, ::-1])
