"""The probability model: a law in totals and shares, smooth misfit, heavy-tailed noise on log loss.

    log L_i ~ StudentT(1 / tail, log f(N_i/N0, D_i/D0, (1-S_i)/U0; totals) + tau phi(z_i) w, sigma)
    w ~ Normal(0, I)

f is the law; N0, D0 and U0 are geometric means over the fitted rows; phi is the basis of `discrepancy`,
rotated so that its functions are orthogonal over the rows.
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


def build(
    law: Law,
    columns: list[np.ndarray],
    loss_nats: np.ndarray,
    units: Mapping[str, float],
    basis: Basis,
    priors: Priors,
) -> pm.Model:
    """The PyMC model of the rows.

    columns: one array [rows] a column of the law, in its order, with `units` their geometric means;
    loss_nats [rows].
    """
    phi = basis(*columns)
    observed = np.log(loss_nats)
    with pm.Model(coords={"function": np.arange(phi.shape[1])}) as model:
        totals = totals_of(law, loss_nats, priors)
        curve = pt.log(law(law.from_totals(totals), *law.in_units(units, *columns)))
        tau = pm.LogNormal("discrepancy_scale", np.log(priors.discrepancy_median), priors.discrepancy_spread)
        sigma = pm.LogNormal("noise_scale", np.log(priors.noise_median), priors.noise_spread)
        tail = pm.Uniform("tail", 0.0, priors.tail_limit)
        weights = _weights(phi, observed - curve, tau, sigma, tail)
        pm.StudentT(
            "log_loss", nu=1 / tail, mu=curve + tau * pt.dot(phi, weights), sigma=sigma, observed=observed
        )
    return model


def _weights(
    phi: np.ndarray,
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
    square = (phi**2).sum(axis=0)
    variance = sigma**2 * (1 + 3 * tail) / (1 + tail)  # that of the normal with the Student-t's information
    spread = pt.sqrt(variance / (tau**2 * square + variance))
    v = pm.Normal("discrepancy_distance", 0.0, 1.0, shape=phi.shape[1])
    w = tau * pt.dot(phi.T, residual) / (tau**2 * square + variance) + spread * v
    pm.Potential("prior_of_weights", pt.sum((v**2 - w**2) / 2 + pt.log(spread)))
    return pm.Deterministic("discrepancy_weights", w, dims="function")
