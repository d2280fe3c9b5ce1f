"""What an answer owes to the priors: power-scaling of prior and likelihood (Kallioinen et al. 2024).

The prior density, or the likelihood, is raised to a power near one; the draws are weighted accordingly, and
how far a quantity's distribution moves, per doubling of the power, is its sensitivity (`arviz.psens`: a
cumulative Jensen-Shannon distance, weights Pareto-smoothed). Above .05 it counts. Where both count, prior and
data each move the answer: they may share the work, or pull in opposite directions.

The prior is that of the law's totals and of the scales, each on the coordinate on which it is normal, so that
a power of the prior is a factor on every spread. The misfit's weights and the noise belong to the likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import arviz as az
import numpy as np
import xarray as xr

from moebook.bayes.priors import Priors
from moebook.bayes.weights import integrated_density
from moebook.laws import Prior

if TYPE_CHECKING:
    from moebook.bayes.posterior import Posterior

COUNTS_FROM = 0.05
DIAGNOSES = {
    (False, False): "neither matters",
    (False, True): "the data decide",
    (True, False): "the prior decides",
    (True, True): "both matter",
}


def sensitivity(posterior: Posterior, quantities: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """{quantity: {prior, likelihood: sensitivity, diagnosis}} of draws [draws] in the posterior's own order.

    A quantity that does not vary has sensitivity 0. Raises NotImplementedError for noise with heavy tails or
    noise that changes with compute, whose likelihood is not known without the misfit's weights.
    """
    shape = posterior.chains, -1
    varying = {name: draws for name, draws in quantities.items() if np.ptp(draws) > 0}
    components = {"prior": log_prior(posterior), "likelihood": log_likelihood(posterior)}
    found = {name: dict.fromkeys(components, 0.0) for name in quantities}
    if varying:
        data = az.InferenceData(
            posterior=_dataset({name: draws.reshape(shape) for name, draws in varying.items()}),
            log_prior=_dataset({"prior": components["prior"].reshape(shape)}),
            log_likelihood=_dataset({"rows": components["likelihood"].reshape(shape)}),
        )
        for component in components:
            distances = az.psens(data, component=component)
            for name in varying:
                found[name][component] = float(distances[name])
    for values in found.values():
        counts = values["prior"] > COUNTS_FROM, values["likelihood"] > COUNTS_FROM
        values["diagnosis"] = DIAGNOSES[counts]
    return found


def log_likelihood(posterior: Posterior) -> np.ndarray:
    """Log density of the fitted rows [draws] given totals and scales, the misfit integrated out."""
    if {"tail", "noise_exponent"} & set(posterior.data.posterior):
        raise NotImplementedError("sensitivity: the misfit is not integrated out of this posterior")
    phi = posterior.basis(*(posterior.rows[name] for name in posterior.law.columns))
    tau, sigma = posterior.draws("discrepancy_scale"), posterior.draws("noise_scale")
    return integrated_density(phi, posterior.residual(misfit=False), tau, sigma)


def log_prior(posterior: Posterior) -> np.ndarray:
    """Log density of the priors [draws], up to a constant."""
    return -0.5 * np.sum([z**2 for z in standard_coordinates(posterior).values()], axis=0)


def standard_coordinates(posterior: Posterior, group: str = "posterior") -> dict[str, np.ndarray]:
    """{name: [draws]} in which the priors are independent and standard normal."""
    priors = Priors(**posterior.summary["ingredients"]["priors"])
    draws = {name: posterior.draws(name, group) for name in posterior.law.totals}
    known = _known(posterior, priors)
    if "gamma" in known and not posterior.law.priors:
        draws["gamma"] = draws["gamma"] / draws["alpha"]  # the prior is that of the ratio
    draws |= {name: posterior.draws(name, group) for name in known if name not in draws}
    return {
        name: (prior.free(draws[name]) - prior.free(prior.median)) / prior.spread
        for name, prior in known.items()
    }


def _known(posterior: Posterior, p: Priors) -> dict[str, Prior]:
    """The priors of totals and scales; of `gamma`, where `totals` builds the law: that of gamma / alpha."""
    law, centre = posterior.law, float(np.exp(np.log(posterior.rows["loss_nats"]).mean()))
    if law.priors:
        totals = dict(law.priors)
        level = totals["level"]
        totals["level"] = Prior(level.family, level.median * centre, level.spread)
    else:
        kinds = {
            "level": Prior("lognormal", centre, p.level_spread),
            "data_share": Prior("logitnormal", p.data_share_median, p.share_spread),
            "gamma": Prior("logitnormal", p.ratio_median, p.share_spread),
            "lambda": Prior("normal", 0.0, p.tilt_spread),
            "delta": Prior("normal", 0.0, p.tilt_spread),
            "alpha": Prior("lognormal", p.exponent_median, p.exponent_spread),
            "beta": Prior("lognormal", p.exponent_median, p.exponent_spread),
        }
        share = Prior("logitnormal", 0.5, p.share_spread)
        totals = {name: kinds.get(name, share) for name in law.totals}
    return totals | {
        "discrepancy_scale": Prior("lognormal", p.discrepancy_median, p.discrepancy_spread),
        "noise_scale": Prior("lognormal", p.noise_median, p.noise_spread),
    }


def _dataset(draws: Mapping[str, np.ndarray]) -> xr.Dataset:
    return xr.Dataset({name: (("chain", "draw"), values) for name, values in draws.items()})
