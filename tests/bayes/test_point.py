"""Point fits: known truths found again, errors of the right size, and the refits of public tables.

The numbers expected of Clark's and Chinchilla's runs are those that others found on the same rows.
"""

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes.point import bootstrap, point_fit, stated_priors
from moebook.errors import InputError
from moebook.runs.public import law_rows, public_table

# Router: coefficients and the rmse of log10 loss. Standard errors are about those of ERRORS.
CLARK = {
    "S-Base": (
        {"a": -0.0830, "b": -0.1180, "c": 0.0099, "d": 1.1136, "E_start": 2.08, "E_max": 239},
        0.00323,
    ),
    "RL-R": ({"a": -0.0827, "b": -0.1234, "c": 0.0112, "d": 1.1070, "E_start": 1.72, "E_max": 470}, 0.00323),
    "Hash": ({"a": -0.0874, "b": -0.1384, "c": 0.0126, "d": 1.1595, "E_start": 4.27, "E_max": 427}, 0.00298),
}
ERRORS = {"a": (0.0015, 0.003), "b": (0.0125, 0.0205), "c": (0.00125, 0.00195), "d": (0.015, 0.03)}
LOG_ERRORS = {"E_start": (0.25, 0.35), "E_max": (0.4, 0.6)}
RESTRICTED = {  # rmse of log10 loss: separable, bilinear, full
    "S-Base": (0.0057, 0.0038, 0.0032),
    "RL-R": (0.0064, 0.0035, 0.0032),
    "Hash": (0.0063, 0.0037, 0.0030),
}


@pytest.fixture(scope="module")
def clark(shared):
    table = public_table("clark2022", shared / "data")
    return {router: law_rows(table, router) for router in CLARK}


@pytest.fixture(scope="module")
def clark_fits(clark):
    return {router: point_fit(laws.get("clark"), rows, starts=8) for router, rows in clark.items()}


@pytest.mark.parametrize("router", CLARK)
def test_clark_refitted(clark_fits, router):
    found, (expected, rmse) = clark_fits[router], CLARK[router]
    digits = {"a": 1e-4, "b": 1e-4, "c": 1e-4, "d": 1e-4, "E_start": 0.01, "E_max": 1.0}
    for name, value in expected.items():
        assert found.coefficients[name] == pytest.approx(value, abs=digits[name]), name
        assert abs(found.coefficients[name] - value) < found.standard_errors[name], name
    assert found.rmse == pytest.approx(rmse, abs=5e-6)
    assert found.agreeing > 0.5
    for name, (low, high) in ERRORS.items():
        assert low < found.standard_errors[name] < high, name
    for name, (low, high) in LOG_ERRORS.items():
        assert low < found.log_standard_error(name) < high, name


@pytest.mark.parametrize("router", CLARK)
def test_clark_compared_with_its_restrictions(clark, clark_fits, router):
    fits = [
        point_fit(laws.get(f"clark-{form}"), clark[router], starts=2) for form in ("separable", "bilinear")
    ]
    rmse = [*(fit.rmse for fit in fits), clark_fits[router].rmse]
    assert rmse == pytest.approx(RESTRICTED[router], abs=5e-5)


@pytest.mark.parametrize("router", CLARK)
def test_clark_without_its_largest_size_predicts_it_two_percent_too_low(clark, router):
    rows = clark[router]
    largest = rows.params_active > 1e9
    fit = point_fit(laws.get("clark"), rows[~largest], starts=8)
    miss = np.log10(fit.predict(rows[largest]) / rows.loss_nats[largest])
    assert 10 ** miss.mean() - 1 == pytest.approx(-0.02, abs=0.0015)
    assert 3.5 <= np.sqrt((miss**2).mean()) / fit.rmse <= 4.0


def test_clark_dense_runs_alone(clark):
    rows = clark["Hash"]
    dense = rows[rows.router == "Dense"]
    exponent, _ = np.polyfit(np.log(dense.params_active), np.log(dense.loss_nats), 1)
    assert -exponent == pytest.approx(0.0785, abs=5e-5)


def test_chinchilla_as_corrected_is_within_the_interval(shared):
    """Besiroglu et al. 2024: Huber with 1e-3 on log loss, intervals by resampling runs."""
    law, runs = laws.get("chinchilla"), public_table("chinchilla", shared / "data")
    fit = point_fit(law, runs, huber=1e-3, starts=4)
    assert fit.agreeing == 1
    draws = bootstrap(fit, runs, huber=1e-3, draws=400)
    for name, value in law.published.items():
        low, high = np.percentile(draws[name], [5, 95])
        assert low < value < high, name
        assert low < fit.coefficients[name] < high, name
    assert 0.004 < np.sqrt(np.mean(fit.residuals**2)) < 0.006


def rows_of(law, coefficients, count=60, noise=0.0, seed=0):
    """Runs of every kind with losses of the law, and normal noise on their logarithms."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "params": 10 ** rng.uniform(7, 9.5, count),
            "params_active": 10 ** rng.uniform(7, 9.5, count),
            "tokens": 10 ** rng.uniform(9, 11.5, count),
            "sparsity": rng.choice([0, 0.5, 0.75, 0.9, 0.97], count),
            "experts": 2.0 ** rng.integers(0, 10, count),
            "granularity": 2.0 ** rng.integers(0, 5, count),
            "compute_flops": 10 ** rng.uniform(17, 22, count),
        }
    )
    loss = law(coefficients, *(table[name].to_numpy() for name in law.columns))
    return table.assign(loss_nats=loss * np.exp(noise * rng.standard_normal(count)))


def medians(law):
    """Coefficients at the prior medians, for laws that print none."""
    units = law.units(
        *(rows_of(laws.get("chinchilla"), laws.get("chinchilla").published)[c] for c in law.columns)
    )
    totals = {name: prior.at(0.2) for name, prior in stated_priors(law).items()}
    return law.plain_coefficients({**totals, "level": 2.5}, units)


@pytest.mark.parametrize("name", laws.names())
def test_losses_without_noise_are_found_again(name):
    law = laws.get(name)
    table = rows_of(law, law.published or medians(law))
    fit = point_fit(law, table, starts=6)
    assert np.abs(fit.residuals).max() < 1e-5
    assert fit.predict(table) == pytest.approx(table.loss_nats.to_numpy(), rel=1e-5)


def test_standard_errors_are_the_scatter_of_fits():
    """Sixty tables with the same truth: errors stated and errors made, for two laws."""
    for name in ("clark-bilinear", "chinchilla"):
        law = laws.get(name)
        truth = law.published or medians(law)
        fits = [point_fit(law, rows_of(law, truth, 60, 0.003, seed), starts=1) for seed in range(60)]
        z = [
            [(fit.coefficients[k] - truth[k]) / fit.standard_errors[k] for k in law.coefficients]
            for fit in fits
        ]
        assert np.std(z) == pytest.approx(1.0, abs=0.15), name
        assert np.abs(np.mean(z, axis=0)).max() < 0.5, name


def test_the_bootstrap_agrees_with_standard_errors_where_noise_is_alike():
    law = laws.get("clark-bilinear")
    table = rows_of(law, medians(law), 200, 0.003, 1)
    fit = point_fit(law, table, starts=1)
    draws = bootstrap(fit, table, draws=150)
    for name, error in fit.standard_errors.items():
        assert draws[name].std() == pytest.approx(error, rel=0.3), name


def test_huber_does_not_follow_a_broken_run():
    law = laws.get("chinchilla")
    table = rows_of(law, law.published, 60, 0.001)
    table.loc[7, "loss_nats"] *= 1.5
    squares, huber = point_fit(law, table, starts=2), point_fit(law, table, huber=1e-3, starts=2)
    clean = np.arange(60) != 7
    assert np.abs(huber.residuals[clean]).max() < 0.004
    assert np.abs(squares.residuals[clean]).max() > 0.01


def test_the_same_seed_the_same_fit_and_rows_in_any_order():
    law = laws.get("chinchilla")
    table = rows_of(law, law.published, 40, 0.01)
    first, again = point_fit(law, table, starts=3), point_fit(law, table, starts=3)
    assert first.coefficients == again.coefficients
    mixed = point_fit(law, table.sample(frac=1, random_state=1), starts=3)
    assert mixed.coefficients == pytest.approx(first.coefficients, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda table: table.drop(columns="experts"),
            "experts: no such column; the law clark reads params_active",
        ),
        (lambda table: table.drop(columns="loss_nats"), "loss_nats: no such column"),
        (
            lambda table: table.assign(experts=np.nan),
            "experts: nan: the law clark needs a number in every row",
        ),
        (lambda table: table.head(6), "rows: 6: the law clark has 6 coefficients"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(change, says):
    law = laws.get("clark")
    with pytest.raises(InputError, match=says):
        point_fit(law, change(rows_of(law, law.published)))


@pytest.mark.parametrize("name", laws.names())
def test_every_total_has_a_stated_prior(name):
    priors = stated_priors(laws.get(name))
    assert tuple(priors) == laws.get(name).totals
    assert priors["level"].median == 1.0
