"""How a law may be wrong: a random function of its columns with a finite basis, growing away from the rows.

Coordinates are logarithms of the columns, and -log(1 - S) for sparsity, standardised over the fitted rows.
The function is the sum of two.

**Waves**: a stationary Gaussian process is, for any finite set of frequencies drawn from its spectral
density, close to sum_j (w_j cos(f_j z) + v_j sin(f_j z)) with standard normal weights (Rahimi and Recht
2007). Here

- the kernel is Matern-5/2, averaged over a log-normal prior of its length scale, so that the basis is fixed;
- the frequencies are one fixed quasi-random sequence pushed through the quantile functions, so that they
  depend on no seed;
- the prior variance is one everywhere, far from the data too: away from them the law is *not* trusted more.

**Walks**: along each coordinate and in both directions a random walk sets out from the centre of the rows:
sum_k w_k ramp(z - k/2), k = 0 .. 11, standard normal weights, times `growth` sqrt(1/2). A ramp rises smoothly
from 0 to 1 within half a standard deviation of 0 on either side. What the law gets wrong keeps the level that
it has, on average, and may drift: the variance grows as growth^2 |z|, up to six standard deviations from the
centre. The walk carries the level on and not the slope: to extend the slope of a misfit claims what no table
supports, and it forecast worse on public tables.

The weights are rotated so that the basis functions are uncorrelated over the fitted rows, which lets them be
integrated out one at a time. A draw of the weights is a function that can be evaluated anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

KNOT = 0.5  # between two ramps, in standard deviations of an axis
RAMP = 1.0  # length of a ramp: overlapping ramps make a walk without kinks, so that optima do not stick
REACH = 6.0  # where the walk ends


def axis(column: str, values: np.ndarray) -> np.ndarray:
    """The coordinate along which misfit is smooth: -log(1 - S) for sparsity, else a logarithm."""
    values = np.asarray(values, dtype=float)
    return -np.log1p(-values) if column == "sparsity" else np.log(values)


@dataclass(frozen=True)
class Basis:
    """phi(columns) [points, functions]; built from the fitted rows by `fitted_basis`.

    columns: names, in the order of the law; centre, scale: mean and standard deviation of each axis over
    the fitted rows; frequencies [pairs, axes]; rotation [functions, functions], orthogonal; growth: of the
    walks, 0 for none (then they are no functions either).
    """

    columns: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    frequencies: np.ndarray
    rotation: np.ndarray
    growth: float = 0.0

    def raw(self, *columns: np.ndarray) -> np.ndarray:
        """The basis before its rotation [points, functions]."""
        z = np.stack(
            [axis(name, values) for name, values in zip(self.columns, columns, strict=True)], axis=-1
        )
        z = (z - self.centre) / self.scale
        angles = z @ self.frequencies.T
        waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1) / np.sqrt(len(self.frequencies))
        return np.concatenate([waves, self.growth * _walks(z)], axis=-1) if self.growth else waves

    def __call__(self, *columns: np.ndarray) -> np.ndarray:
        """phi [points, functions] at columns [points]; the prior variance is the squared length of a row."""
        return self.raw(*columns) @ self.rotation


def _walks(z: np.ndarray) -> np.ndarray:
    """Random walks of unit variance a unit of z, along each axis and both ways [points, ramps]."""
    outward = np.concatenate([z, -z], axis=-1)[..., None]
    t = np.clip((outward - np.arange(0.0, REACH, KNOT)) / RAMP + 0.5, 0.0, 1.0)
    ramps = t * t * (3 - 2 * t)
    return np.sqrt(KNOT) * ramps.reshape(len(z), -1)


def functions(pairs: int, axes: int, growth: float) -> int:
    """How many basis functions there are."""
    return 2 * pairs + (2 * axes * int(REACH / KNOT) if growth else 0)


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
    columns: tuple[str, ...],
    values: list[np.ndarray],
    pairs: int,
    length: float,
    length_spread: float,
    growth: float = 0.0,
) -> Basis:
    """The basis for the fitted rows: axes standardised by them, functions uncorrelated over them."""
    z = np.stack([axis(name, v) for name, v in zip(columns, values, strict=True)], axis=-1)
    scale = z.std(axis=0)
    # A column that does not vary has no misfit to learn; rounding alone is no variation.
    scale[scale < 1e-9 * np.maximum(1.0, np.abs(z).max(axis=0))] = 1.0
    start = Basis(
        columns,
        z.mean(axis=0),
        scale,
        frequencies(pairs, len(columns), length, length_spread),
        np.eye(functions(pairs, len(columns), growth)),
        growth,
    )
    return replace(start, rotation=rotation_over(start.raw(*values)))


def rotation_over(raw: np.ndarray) -> np.ndarray:
    """The rotation [functions, functions] that makes the columns of raw [rows, functions] orthogonal, the
    longest first; signs are fixed by the largest entry."""
    _, vectors = np.linalg.eigh(raw.T @ raw)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))])
    return (vectors * signs)[:, ::-1]
