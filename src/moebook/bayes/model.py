"""The probability model: a law in totals and shares, smooth misfit, noise on log loss.

    log L_i = log f(N_i/N0, D_i/D0, (1-S_i)/U0; totals) + tau phi(z_i) w + noise_i
    w ~ Normal(0, I)

f is the law; N0, D0 and U0 are geometric means over the fitted rows; phi is the basis of `discrepancy`,
rotated so that its functions are orthogonal over the rows. Noise is Normal(0, sigma), and then the weights w
are integrated out; or, robust to outliers, StudentT(1 / tail, 0, sigma), and then they are sampled.

With normal noise and s_j = |phi_j|^2 the covariance of the rows is sigma^2 I + tau^2 Phi Phi^T. Since Phi has
orthogonal columns, its determinant and its inverse need no factorisation: r the residuals of the law,

    -2 log p = n log(2 pi sigma^2) + sum_j log(1 + tau^2 s_j / sigma^2)
               + (|r|^2 - sum_j (phi_j r)^2 tau^2 / (sigma^2 + tau^2 s_j)) / sigma^2,

and w_j given all else is normal, one j at a time (`conditional_weights`).

The rows are data of the model, so that it is compiled once for a law and used for many tables.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from moebook.bayes.discrepancy import Basis
from moebook.bayes.priors import Priors
from moebook.bayes.totals import totals_of
from moebook.laws import Law

LOSS, BASIS, SQUARES, LEVEL = "log_loss", "basis", "squares", "log_level"


def build(law: Law, priors: Priors, functions: int) -> pm.Model:
    """The PyMC model of a law whose misfit has so many basis functions; its rows are set by `data_of`."""
    columns = [f"column_{name}" for name in law.columns]
    with pm.Model(coords={"function": np.arange(functions)}) as model:
        quantities = [pm.Data(name, np.full(2, 0.5)) for name in columns]
        observed, log_level = pm.Data(LOSS, np.zeros(2)), pm.Data(LEVEL, 0.0)
        phi, squares = pm.Data(BASIS, np.ones((2, functions))), pm.Data(SQUARES, np.ones(functions))
        totals = totals_of(law, log_level, priors)
        residual = observed - pt.log(law(law.from_totals(totals), *quantities))
        tau = pm.LogNormal("discrepancy_scale", np.log(priors.discrepancy_median), priors.discrepancy_spread)
        sigma = pm.LogNormal("noise_scale", np.log(priors.noise_median), priors.noise_spread)
        if priors.robust:
            tail = pm.Uniform("tail", 0.0, priors.tail_limit)
            misfit = tau * pt.dot(phi, _sampled_weights(phi, squares, residual, tau, sigma, tail))
            noise = pm.StudentT.dist(nu=1 / tail, mu=0.0, sigma=sigma)
            pm.Potential("likelihood", pt.sum(pm.logp(noise, residual - misfit)))
        else:
            pm.Potential("likelihood", _integrated(phi, squares, residual, tau, sigma))
    return model


def data_of(
    law: Law, columns: list[np.ndarray], loss_nats: np.ndarray, units: Mapping[str, float], basis: Basis
) -> dict[str, np.ndarray]:
    """The rows as the model's data: columns [rows] in the law's order, loss_nats [rows]."""
    phi, log_loss = basis(*columns), np.log(loss_nats)
    quantities = law.in_units(units, *columns)
    return {
        **{f"column_{name}": values for name, values in zip(law.columns, quantities, strict=True)},
        LOSS: log_loss,
        LEVEL: np.asarray(log_loss.mean()),
        BASIS: phi,
        SQUARES: (phi**2).sum(axis=0),
    }


def _integrated(
    phi: pt.TensorVariable,
    squares: pt.TensorVariable,
    residual: pt.TensorVariable,
    tau: pt.TensorVariable,
    sigma: pt.TensorVariable,
) -> pt.TensorVariable:
    """Log density of the rows with normal noise, weights integrated out (the formula above)."""
    noise, misfit = sigma**2, tau**2
    along = pt.dot(phi.T, residual)
    square = pt.sum(residual**2) - pt.sum(along**2 * misfit / (noise + misfit * squares))
    rows = residual.shape[0]
    determinant = rows * pt.log(2 * np.pi * noise) + pt.sum(pt.log1p(misfit * squares / noise))
    return -(square / noise + determinant) / 2


def conditional_weights(
    phi: np.ndarray, residual: np.ndarray, tau: np.ndarray, sigma: np.ndarray, seed: int
) -> np.ndarray:
    """Weights [draws, functions] given the rest of each draw, with normal noise.

    phi [rows, functions], residual of the law [draws, rows], tau and sigma [draws].
    """
    squares = (phi**2).sum(axis=0)
    noise, misfit = sigma[:, None] ** 2, tau[:, None] ** 2
    variance = noise / (noise + misfit * squares)
    mean = tau[:, None] * (residual @ phi) / (noise + misfit * squares)
    return mean + np.sqrt(variance) * np.random.default_rng([seed, 3]).standard_normal(mean.shape)


def _sampled_weights(
    phi: pt.TensorVariable,
    squares: pt.TensorVariable,
    residual: pt.TensorVariable,
    tau: pt.TensorVariable,
    sigma: pt.TensorVariable,
    tail: pt.TensorVariable,
) -> pt.TensorVariable:
    """w ~ Normal(0, I), sampled as its distance from where the residuals of the law put it.

    Were the noise normal, w_j given all else would be normal with the mean and standard deviation below, one
    j at a time, since the columns of phi are orthogonal. The distance v in units of these hardly depends on
    law or scales, whether the data see direction j well or not at all: no funnel at a small tau, none at a
    large one. dw/dv and the prior of w enter as a potential.
    """
    variance = sigma**2 * (1 + 3 * tail) / (1 + tail)  # that of the normal with the Student-t's information
    spread = pt.sqrt(variance / (tau**2 * squares + variance))
    v = pm.Normal("discrepancy_distance", 0.0, 1.0, dims="function")
    w = tau * pt.dot(phi.T, residual) / (tau**2 * squares + variance) + spread * v
    pm.Potential("prior_of_weights", pt.sum((v**2 - w**2) / 2 + pt.log(spread)))
    return pm.Deterministic("discrepancy_weights", w, dims="function")
