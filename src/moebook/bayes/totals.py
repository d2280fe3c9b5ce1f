"""The identified parameters of each law as random variables, in coordinates that sample well.

A law that states its priors is sampled on the coordinates on which they are normal. Eq. 6 and Chinchilla have
the priors of `Priors`, exactly; only the coordinates differ: the data fix the elasticities of the loss (how
fast it falls with N, with D and with 1 - S at the centre), so these are what the sampler moves: a variable x
with prior p(x), x = u / g, is sampled as u with the prior that g > 0 and p give it.
"""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from moebook.bayes.priors import Priors
from moebook.errors import InputError
from moebook.laws import Law, Prior

Totals = dict[str, pt.TensorVariable]


def totals_of(
    law: Law, log_level: pt.TensorVariable | float, priors: Priors, level: bool = True
) -> Totals:
    """The law's totals inside the current model; log_level, the rows' mean log loss, centres the level.

    level: whether it is a random variable; else it is its prior's median.
    """
    median, spread = level_prior(law, priors)
    at = log_level + np.log(median)
    totals = {"level": pm.LogNormal("level", at, spread) if level else pt.exp(at)}
    if law.name in _BUILDERS:
        totals |= _BUILDERS[law.name](priors)
    else:
        totals |= {name: _stated(name, prior) for name, prior in law.priors.items() if name != "level"}
    return {name: totals[name] for name in law.totals}


def level_prior(law: Law, priors: Priors) -> tuple[float, float]:
    """Median, in units of the rows' geometric mean loss, and spread of the log-normal prior of the level."""
    if law.name in _BUILDERS:
        return 1.0, priors.level_spread
    if not law.priors:
        raise InputError(f"law: {law.name}: states no priors for its totals")
    return law.priors["level"].median, law.priors["level"].spread


def _stated(name: str, prior: Prior) -> pt.TensorVariable:
    """A total with the prior that its law states."""
    at = float(prior.free(prior.median))
    if prior.family == "normal":
        return pm.Normal(name, at, prior.spread)
    if prior.family == "lognormal":
        return pm.LogNormal(name, at, prior.spread)
    return pm.Deterministic(name, pm.math.sigmoid(pm.Normal(f"{name}_odds", at, prior.spread)))


def _share(
    name: str, priors: Priors, median: float = 0.5, shift: pt.TensorVariable | float = 0.0
) -> pt.TensorVariable:
    """A logit-normal share; `shift` moves the sampled coordinate, not the share."""
    odds = pm.Normal(f"{name}_odds", np.log(median / (1 - median)) + shift, priors.share_spread)
    return pm.Deterministic(name, pm.math.sigmoid(odds - shift))


def _exponent(name: str, elasticity: str, weight: pt.TensorVariable, priors: Priors) -> pt.TensorVariable:
    """A log-normal exponent, sampled as the elasticity exponent * weight."""
    value = pm.LogNormal(elasticity, np.log(priors.exponent_median) + pt.log(weight), priors.exponent_spread)
    return pm.Deterministic(name, value / weight)


def _chinchilla(priors: Priors) -> Totals:
    data = _share("data_share", priors, priors.data_share_median)
    floor = _share("floor_of_rest", priors)
    return {
        "data_share": data,
        "floor_of_rest": floor,
        "alpha": _exponent("alpha", "size_elasticity", (1 - data) * (1 - floor), priors),
        "beta": _exponent("beta", "data_elasticity", data, priors),
    }


def _abnar(priors: Priors) -> Totals:
    data = _share("data_share", priors, priors.data_share_median)
    plain = _share("size_plain_share", priors)
    tilted = _share("floor_tilt_share", priors)
    ratio = _share("exponent_ratio", priors, priors.ratio_median)
    # alpha and gamma average to alpha * mean; unequal exponents bend the curve as a floor does, and the data
    # see the bend, so the floor's coordinate moves with the inequality.
    mean = plain + (1 - plain) * ratio
    inequality = plain * (1 - plain) * (1 - ratio) ** 2 / mean**2
    floor = _share("floor_of_rest", priors, shift=2 * pt.log1p(inequality))
    size = (1 - data) * (1 - floor)
    alpha = _exponent("alpha", "size_elasticity", size * mean, priors)
    # lambda and delta are independent normals; seen along the slope in log(1 - S) and across it.
    floor_weight = (1 - data) * floor * tilted
    size_weight = size * (1 - plain)
    norm = pt.sqrt(floor_weight**2 + size_weight**2)
    slope = pm.Normal("sparsity_slope", 0.0, priors.tilt_spread * norm) / norm
    across = priors.tilt_spread * pm.Normal("sparsity_contrast", 0.0, 1.0)
    return {
        "data_share": data,
        "floor_of_rest": floor,
        "size_plain_share": plain,
        "floor_tilt_share": tilted,
        "alpha": alpha,
        "beta": _exponent("beta", "data_elasticity", data, priors),
        "gamma": pm.Deterministic("gamma", ratio * alpha),
        "lambda": pm.Deterministic("lambda", (slope * floor_weight + across * size_weight) / norm),
        "delta": pm.Deterministic("delta", (slope * size_weight - across * floor_weight) / norm),
    }


_BUILDERS = {"chinchilla": _chinchilla, "abnar": _abnar}
