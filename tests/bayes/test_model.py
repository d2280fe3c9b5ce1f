"""The density of the model against the plain formula, and what outliers do to it."""

import numpy as np
import pandas as pd
import pytensor
import pytest
from scipy import stats

from moebook import bayes, laws
from moebook.bayes.compiled import _MADE
from moebook.bayes.discrepancy import fitted_basis
from moebook.bayes.model import Form, build, data_of
from moebook.bayes.priors import Priors
from moebook.bayes.weights import conditional_weights, integrated_density

TAU, SIGMA = 0.03, 0.008
TOTALS = {"level": 2.4, "data_share": 0.3, "floor_of_rest": 0.5, "alpha": 0.4, "beta": 0.35}


@pytest.fixture(scope="module")
def case():
    """(law, columns, losses, units, basis) of thirty runs that bend away from the law."""
    rng = np.random.default_rng(0)
    law = laws.get("chinchilla")
    columns = [np.exp(rng.uniform(14, 20, 30)), np.exp(rng.uniform(18, 24, 30))]
    units = law.units(*columns)
    curve = law(law.from_totals(TOTALS), *law.in_units(units, *columns))
    loss_nats = curve * np.exp(0.02 * np.sin(np.log(columns[0])) + SIGMA * rng.standard_normal(30))
    return law, columns, loss_nats, units, fitted_basis(law.columns, columns, 8, 1.5, 0.5)


def covariance(phi, level_spread=0.0):
    """Of the rows' log losses, level and weights integrated out."""
    return SIGMA**2 * np.eye(len(phi)) + TAU**2 * phi @ phi.T + level_spread**2


def residual_of(case):
    law, columns, loss_nats, units, _ = case
    return np.log(loss_nats) - np.log(law(law.from_totals(TOTALS), *law.in_units(units, *columns)))


def test_the_likelihood_is_the_normal_density_with_weights_and_level_integrated_out(case):
    law, columns, loss_nats, units, basis = case
    model = build(law, Priors(pairs=8), Form(functions=16))
    with model:
        for name, values in data_of(law, columns, loss_nats, units, basis).items():
            model.set_data(name, values)
        (likelihood,) = model.potentials
    given = {**TOTALS, "discrepancy_scale": TAU, "noise_scale": SIGMA, "level_distance": 1.5}
    inputs = [model[name] for name in given if name != "level"]
    outputs = [likelihood, model["level"]]
    density = pytensor.function(inputs, outputs, on_unused_input="ignore", mode="FAST_COMPILE")
    found, level = density(*(value for name, value in given.items() if name != "level"))
    # With the level integrated out, its prior is a common normal number on the log losses.
    phi, centre = basis(*columns), np.log(loss_nats).mean()
    residual = residual_of(case) + np.log(TOTALS["level"]) - centre
    spread = Priors().level_spread
    whole = covariance(phi, spread)
    assert found == pytest.approx(stats.multivariate_normal(cov=whole).logpdf(residual), abs=1e-8)
    gain = spread**2 * np.linalg.solve(whole, np.ones(30))
    mean, deviation = gain @ residual, spread * np.sqrt(1 - gain.sum())
    assert np.log(level) == pytest.approx(centre + mean + 1.5 * deviation, abs=1e-8)
    # And given the level, as the draws of the weights need it.
    tau, sigma = np.full(1, TAU), np.full(1, SIGMA)
    by_draw = integrated_density(phi, residual_of(case)[None], tau, sigma)
    plain = stats.multivariate_normal(cov=covariance(phi)).logpdf(residual_of(case))
    assert by_draw[0] == pytest.approx(plain, abs=1e-8)


def test_weights_drawn_afterwards_are_those_of_the_regression(case):
    """Mean and covariance of w given the residuals, by solving with the rows' whole covariance."""
    _, columns, _, _, basis = case
    phi, residual = basis(*columns), residual_of(case)
    gain = TAU * phi.T @ np.linalg.inv(covariance(phi))
    draws = 20_000
    scales = np.full(draws, TAU), np.full(draws, SIGMA)
    weights = conditional_weights(phi, np.broadcast_to(residual, (draws, 30)), *scales, seed=1)
    error = np.sqrt(1 / draws)  # of a mean of variables of at most unit variance
    np.testing.assert_allclose(weights.mean(0), gain @ residual, atol=5 * error)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(16) - TAU * gain @ phi, atol=7 * error)


@pytest.mark.parametrize("tail_limit", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_a_fit_does_not_hang_on_the_fits_before_it(chinchilla_runs, tail_limit):
    """With heavy tails the level is sampled, and chains start where the rows' mean puts it."""
    columns = {"params": "N", "tokens": "D", "loss": "loss"}
    settings = {"columns": columns, "draws": 40, "tune": 60, "progress": False}
    settings["priors"] = Priors(tail_limit=tail_limit)
    other = chinchilla_runs.assign(loss=chinchilla_runs["loss"] * 3)
    first = bayes.fit(chinchilla_runs, "chinchilla", **settings)
    models = len(_MADE)
    bayes.fit(other, "chinchilla", **settings)
    assert len(_MADE) == models, "one model takes any rows"
    again = bayes.fit(chinchilla_runs, "chinchilla", **settings)
    for group in ("posterior", "prior"):
        assert first.data[group].identical(again.data[group])


@pytest.mark.slow
def test_a_robust_fit_bears_an_outlier(chinchilla_runs, chinchilla_posterior, noise):
    runs = pd.concat([chinchilla_runs.assign(loss=chinchilla_runs["loss"])], ignore_index=True)
    runs.loc[10, "loss"] *= 1.25
    columns = {"params": "N", "tokens": "D", "loss": "loss"}
    settings = {"columns": columns, "draws": 500, "tune": 500, "progress": False}
    plain = bayes.fit(runs, "chinchilla", **settings)
    robust = bayes.fit(runs, "chinchilla", priors=Priors(tail_limit=0.5), **settings)
    clean = np.median(chinchilla_posterior.draws("noise_scale"))
    assert np.median(plain.draws("noise_scale")) > 3 * clean
    assert np.median(robust.draws("noise_scale")) < 1.5 * clean
