"""The misfit's weights, which normal noise lets be integrated out of sampling, drawn from where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def conditional(
    phi: np.ndarray, residual: np.ndarray, tau: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance [draws, functions] of the weights given the rest of each draw, with normal noise.

    phi [rows, functions], columns orthogonal; residual of the law [draws, rows]; tau and sigma [draws].
    """
    squares = (phi**2).sum(axis=0)
    noise, misfit = sigma[:, None] ** 2, tau[:, None] ** 2
    spread = noise + misfit * squares
    return tau[:, None] * (residual @ phi) / spread, noise / spread


def conditional_weights(
    phi: np.ndarray, residual: np.ndarray, tau: np.ndarray, sigma: np.ndarray, seed: int
) -> np.ndarray:
    """Weights [draws, functions] drawn from `conditional`."""
    mean, variance = conditional(phi, residual, tau, sigma)
    return mean + np.sqrt(variance) * np.random.default_rng([seed, 3]).standard_normal(mean.shape)


def integrated_density(
    phi: np.ndarray, residual: np.ndarray, tau: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """Log density of the rows [draws], weights integrated out; arguments of `conditional`."""
    squares = (phi**2).sum(axis=0)
    noise, misfit = sigma[:, None] ** 2, tau[:, None] ** 2
    explained = ((residual @ phi) ** 2 * misfit / (noise + misfit * squares)).sum(axis=1)
    determinant = np.log1p(misfit * squares / noise).sum(axis=1)
    noise = noise[:, 0]
    rows = residual.shape[1]
    return (
        -(rows * np.log(2 * np.pi * noise) + determinant + ((residual**2).sum(axis=1) - explained) / noise)
        / 2
    )


def drawn_exponents(
    scaled: Sequence[tuple[np.ndarray, np.ndarray]],
    residual: np.ndarray,
    tau: np.ndarray,
    sigma: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Which exponent of the noise each draw has [draws], from its probability given the rest of the draw.

    scaled: for each exponent (basis of the rows divided by their noise, rotated; that noise [rows]).
    """
    density = [integrated_density(phi, residual / v, tau, sigma) - np.log(v).sum() for phi, v in scaled]
    # The largest of log probabilities with Gumbel noise is a draw from them.
    noise = np.random.default_rng([seed, 4]).gumbel(size=(len(density), len(tau)))
    return (np.array(density) + noise).argmax(axis=0)
