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

# A basis function whose squared length over the rows is larger than this is seen well by the data.
WELL_SEEN = 4.0


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
    length = np.linalg.norm(phi, axis=0)
    seen = int((length**2 > WELL_SEEN).sum())  # functions are sorted, longest first
    directions = phi[:, :seen] / length[:seen]
    with pm.Model(coords={"function": np.arange(phi.shape[1])}) as model:
        totals = totals_of(law, loss_nats, priors)
        curve = pt.log(law(law.from_totals(totals), *law.in_units(units, *columns)))
        tau = pm.LogNormal("discrepancy_scale", np.log(priors.discrepancy_median), priors.discrepancy_spread)
        # Along directions that the data see, the sum of law and misfit is what is known: sample that sum
        # (centred); along the others the weight itself (non-centred). The prior of w is the same.
        of_law = pt.dot(directions.T, curve)
        summed = pm.Normal("seen_sum", of_law, tau * length[:seen])
        unseen = pm.Normal("unseen_weights", 0.0, 1.0, shape=phi.shape[1] - seen)
        weights = pt.concatenate([(summed - of_law) / (tau * length[:seen]), unseen])
        pm.Deterministic("discrepancy_weights", weights, dims="function")
        sigma = pm.LogNormal("noise_scale", np.log(priors.noise_median), priors.noise_spread)
        tail = pm.Uniform("tail", 0.0, priors.tail_limit)
        pm.StudentT(
            "log_loss",
            nu=1 / tail,
            mu=curve + tau * pt.dot(phi, weights),
            sigma=sigma,
            observed=np.log(loss_nats),
        )
    return model
