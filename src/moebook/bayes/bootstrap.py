"""The practice to beat: a law fitted to one point, its coefficients bootstrapped, residual noise added.

A forecast in the same form as a posterior's, so that both are scored alike. The point fit minimises Huber's
function at .001 of log loss, as papers do; 200 case bootstraps start from it. The noise is normal, as
large as the residuals' root mean square: kinder than residuals drawn again, whose density has gaps and ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from moebook.bayes.mixture import Mixture
from moebook.bayes.point import PointFit, bootstrap, point_fit, stated_priors
from moebook.laws import Law

HUBER = 1e-3
DRAWS = 200
STARTS = 24
INSIDE = 1e-6


def fit_point(law: Law, table: Mapping[str, Any], seed: int = 0) -> PointFit:
    """The point fit of a baseline; table: the law's columns and loss_nats [rows].

    An optimum at the end of a total's range (a share of one) is moved a little inside, from where bootstraps
    can leave it.
    """
    with np.errstate(over="ignore"):
        fit = point_fit(law, table, huber=HUBER, starts=STARTS, seed=seed)
    totals = dict(fit.totals)
    for name, prior in stated_priors(law).items():
        if prior.family == "logitnormal":
            totals[name] = min(max(totals[name], INSIDE), 1 - INSIDE)
        elif prior.family == "lognormal":
            totals[name] = max(totals[name], INSIDE * prior.median)
    return replace(fit, totals=totals)


def baseline(
    fit: PointFit, table: Mapping[str, Any], columns: Mapping[str, Any], draws: int = DRAWS, seed: int = 0
) -> Mixture:
    """Forecast of log loss at columns {column of the law: [points]} from a fit of `table`.

    A bootstrap may run off to where a term is zero times infinity; what then is no number at some point is
    left out (which flatters the rest), so that the mixture can have fewer components than `draws`.
    """
    with np.errstate(all="ignore"):  # a share may run to its end, a power overflow
        found = bootstrap(fit, table, huber=HUBER, draws=draws, seed=seed)
        coefficients = {name: values[:, None] for name, values in found.items()}
        asked = (np.asarray(columns[name], dtype=float) for name in fit.law.columns)
        mean = np.log(fit.law(coefficients, *asked))
    mean = mean[np.isfinite(mean).all(axis=1)]
    if not len(mean):
        raise RuntimeError(f"bootstrap: {fit.law.name}: no draw gives a loss at every point")
    sd = np.full(mean.shape, float(np.sqrt(np.mean(fit.residuals**2))))
    return Mixture(mean, sd, np.full(len(mean), 1 / len(mean)))
