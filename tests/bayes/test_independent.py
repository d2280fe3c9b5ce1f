"""The same posterior by other means: another library's sampler, and plain quadrature."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from moebook import bayes, laws
from moebook.bayes.weights import integrated_density

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stored():
    return json.loads((HERE / "second_sampler.json").read_text())


@pytest.mark.slow
def test_another_librarys_sampler_finds_the_same_posterior(stored):
    """Each quantile within Monte Carlo error; the other model shares no line with ours."""
    table = pd.DataFrame(stored["rows"])
    found = bayes.fit(table, "abnar", progress=False)
    assert found.passed, found.summary["gates"]
    distances = {}
    for name, other in stored["found"].items():
        assert other["rhat"] < 1.01, name
        estimate = found.summary["estimates"][name]
        for q, value, error in zip(("q05", "q50", "q95"), other["quantiles"], other["errors"], strict=True):
            distances[name, q] = (estimate[q] - value) / np.hypot(error, estimate[f"mcse_{q}"])
    assert set(stored["found"]) >= {*found.law.totals, "discrepancy_scale", "noise_scale"}
    worst = max(distances, key=lambda key: abs(distances[key]))
    assert abs(distances[worst]) < 4, (worst, distances[worst])
    assert np.mean(np.square(list(distances.values()))) < 3


def test_the_stored_rows_are_those_that_the_script_makes(stored):
    spec = importlib.util.spec_from_file_location("second_sampler", HERE / "second_sampler.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.rows()
    for name, values in stored["rows"].items():
        assert made[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.slow
def test_two_free_numbers_against_quadrature():
    """Clark's separable form, a plane in logs, with the scales held by their priors."""
    rng = np.random.default_rng(2)
    size, experts = np.exp(rng.uniform(16, 20, 24)), rng.choice([1.0, 4.0, 16.0, 64.0], 24)
    law = laws.get("clark-separable")
    columns = [size, experts]
    units = law.units(*columns)
    totals = {"level": 2.5, "size_exponent": 0.08, "routing_exponent": 0.04}
    curve = law(law.at(units).from_totals(totals), *columns)
    loss = curve * np.exp(0.01 * rng.standard_normal(24))
    # Scales held; no misfit to speak of: what is left is level and two slopes, which are nearly linear.
    priors = bayes.Priors(
        noise_median=0.01, noise_spread=1e-3, discrepancy_median=0.01, discrepancy_spread=1e-3, pairs=4
    )
    table = pd.DataFrame({"params_active": size, "experts": experts, "loss": loss})
    found = bayes.fit(table, law, priors=priors, draws=2500, tune=600, progress=False)
    assert found.passed, found.summary["gates"]

    size_prior, routing_prior = law.priors["size_exponent"], law.priors["routing_exponent"]
    p = np.linspace(0.05, 0.11, 161)
    q = np.linspace(0.0, 0.08, 161)
    grid_p, grid_q = (v.ravel() for v in np.meshgrid(p, q, indexing="ij"))
    log_centre = np.log(loss).mean()
    # log L = log level - ln(10) (p x + q y): the level is one more normal number on all rows.
    x, y = (np.log10(v) - np.log10(v).mean() for v in columns)
    residual = np.log(loss) - log_centre + np.log(10) * (np.outer(grid_p, x) + np.outer(grid_q, y))
    phi = found.basis(*columns)
    spread = law.priors["level"].spread
    extended, scale = np.column_stack([phi, np.full(24, spread / 0.01)]), np.full(len(grid_p), 0.01)
    rotated = extended @ np.linalg.eigh(extended.T @ extended)[1]
    density = integrated_density(rotated, residual, scale, scale)
    density += stats.norm.logpdf((np.log(grid_p) - np.log(size_prior.median)) / size_prior.spread)
    density -= np.log(grid_p)
    density += stats.norm.logpdf((grid_q - routing_prior.median) / routing_prior.spread)
    mass = np.exp(density - density.max()).reshape(161, 161)
    assert mass[[0, -1]].max() < 1e-6 and mass[:, [0, -1]].max() < 1e-6, "the grid holds the posterior"
    for name, values, weight in (
        ("size_exponent", p, mass.sum(1)),
        ("routing_exponent", q, mass.sum(0)),
    ):
        weight = weight / weight.sum()
        mean = weight @ values
        deviation = np.sqrt(weight @ (values - mean) ** 2)
        draws, estimate = found.draws(name), found.summary["estimates"][name]
        effective = estimate["ess_bulk"]
        assert abs(estimate["mean"] - mean) < 4 * deviation / np.sqrt(effective), name
        assert draws.std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * len(draws))), name
