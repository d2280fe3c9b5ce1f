"""Every law can be sampled: its model, its priors, and what identifies it."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from scipy import stats

from moebook import bayes, laws
from moebook.bayes.discrepancy import functions
from moebook.bayes.identity import ingredients
from moebook.bayes.model import Form, build, data_of, prior_variables, sampled_names
from moebook.bayes.prepared import Prepared
from moebook.bayes.priors import Priors
from moebook.bayes.request import Sampler, request

SMALL = Priors(pairs=4)
QUICK = "FAST_COMPILE"  # of PyTensor: Python instead of Numba, for one evaluation
STATED = [name for name in laws.names() if laws.get(name).priors]
RANGES = {
    "params": (1e7, 1e9), "params_active": (1e7, 1e9), "params_nonembedding": (1e7, 1e9),
    "tokens": (1e8, 1e11), "compute_flops": (1e17, 1e20), "sparsity": (0.0, 0.95), "experts": (1, 256),
    "granularity": (1, 16),
}  # fmt: skip


def runs_of(name, rows=40, noise=0.01, seed=0):
    """(table, totals) of simulated runs of a law at the medians of its priors, or as published."""
    law, rng = laws.get(name), np.random.default_rng(seed)
    table = {}
    for column in law.columns:
        low, high = RANGES[column]
        even = rng.uniform(0, 1, rows)
        table[column] = low + even * (high - low) if column == "sparsity" else low * (high / low) ** even
    columns = list(table.values())
    units = law.units(*columns)
    if law.priors:
        totals = {total: prior.median for total, prior in law.priors.items()} | {"level": 2.5}
        loss = law(law.at(units).from_totals(totals), *law.in_units(units, *columns))
    else:
        totals, loss = {}, law(law.published, *columns)
    return pd.DataFrame(table).assign(loss=loss * np.exp(noise * rng.standard_normal(rows))), totals


def model_of(name, table):
    """(model with the rows as its data, form) of a law."""
    asked = request(table, name, columns={column: column for column in laws.get(name).columns}, priors=SMALL)
    made = Prepared.of(asked.law, asked.rows, SMALL)
    model = build(asked.law, SMALL, made.form)
    with model:
        pm.set_data(made.data(asked.law, asked.rows))
    return model, made.form


@pytest.mark.parametrize("name", laws.names())
def test_the_model_of_every_law_has_a_finite_density_and_slope_at_its_medians(name):
    model, form = model_of(name, runs_of(name)[0])
    assert form.functions == functions(4, len(laws.get(name).columns), SMALL.growth)
    point = model.initial_point()
    assert np.isfinite(model.compile_logp(mode=QUICK)(point))
    slope = model.compile_dlogp(mode=QUICK)(point)
    assert np.isfinite(slope).all() and np.ptp(slope) > 0
    assert set(sampled_names(laws.get(name), SMALL, form)) <= set(model.named_vars)


@pytest.mark.parametrize("name", STATED)
def test_draws_from_the_prior_are_those_that_the_law_states(name):
    law, (table, _) = laws.get(name), runs_of(name)
    model, form = model_of(name, table)
    variables = prior_variables(model, law, SMALL, form)
    with model:
        drawn = pm.draw([variables[total] for total in law.totals], draws=2000, random_seed=1, mode=QUICK)
    centre = np.log(table["loss"]).mean()
    for (total, prior), values in zip(law.priors.items(), drawn, strict=True):
        shift = centre if total == "level" else 0.0
        standard = (prior.free(values) - prior.free(prior.median) - shift) / prior.spread
        assert stats.kstest(standard, "norm").pvalue > 1e-3, total


@pytest.mark.parametrize("name", laws.names())
def test_the_level_is_a_factor_of_every_law(name):
    """What lets the model integrate it out."""
    law, (table, _) = laws.get(name), runs_of(name)
    columns = [table[column].to_numpy() for column in law.columns]
    units = law.units(*columns)
    totals = dict.fromkeys(law.totals, 0.3) | {t: prior.median for t, prior in law.priors.items()}

    def loss(level):
        coefficients = law.at(units).from_totals({**totals, "level": level})
        return law(coefficients, *law.in_units(units, *columns))

    assert loss(4.2) == pytest.approx(3.5 * loss(1.2), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in STATED if laws.get(name).by_units])
def test_a_law_that_takes_its_units_with_its_totals_is_the_law_itself(name):
    """The residual in the model is the numpy law's, at this table's units."""
    law, (table, totals) = laws.get(name), runs_of(name, noise=0.0)
    columns = [table[column].to_numpy() for column in law.columns]
    units = law.units(*columns)
    asked = request(table, name, columns={column: column for column in law.columns}, priors=SMALL)
    made = Prepared.of(law, asked.rows, SMALL)
    model = build(law, SMALL, made.form)
    with model:
        pm.set_data(data_of(law, columns, table["loss"].to_numpy(), units, made.basis))
        (likelihood,) = model.potentials
    names = [*law.totals[1:], "discrepancy_scale", "noise_scale"]
    density = pytensor.function([model[n] for n in names], likelihood, on_unused_input="ignore", mode=QUICK)
    sigma, spread = 1e-3, law.priors["level"].spread
    found = density(*(totals[t] for t in law.totals[1:]), sigma, sigma)
    # The totals made the losses: the residual is one constant, what the level is above its prior's median.
    phi = made.basis(*columns)
    covariance = sigma**2 * (np.eye(len(table)) + phi @ phi.T) + spread**2
    above = np.log(2.5) - np.log(table["loss"]).mean() - np.log(law.priors["level"].median)
    expected = stats.multivariate_normal(cov=covariance).logpdf(np.full(len(table), above))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["krajewski", "clark", "tian"])
def test_a_fit_finds_the_totals_that_made_the_runs(name):
    table, totals = runs_of(name, rows=80)
    columns = {column: column for column in laws.get(name).columns}
    found = bayes.fit(table, name, columns=columns, progress=False)
    assert found.passed, found.summary["gates"]
    inside = 0
    for total, true in totals.items():
        low, high = np.quantile(found.draws(total), [0.005, 0.995])
        inside += low <= true <= high
    assert inside == len(totals)
    again = found.predict(**{c: table[c] for c in laws.get(name).columns}, noise=True)
    low, high = np.quantile(again, [0.05, 0.95], axis=0)
    assert 0.8 <= np.mean((table["loss"] >= low) & (table["loss"] <= high)) <= 1


def test_an_unknown_form_needs_its_own_priors():
    from dataclasses import replace

    from moebook.bayes.totals import totals_of
    from moebook.errors import InputError

    bare = replace(laws.get("clark"), name="mine", priors={})
    with pm.Model(), pytest.raises(InputError, match="law: mine: states no priors for its totals"):
        totals_of(bare, 0.0, SMALL)


def test_forms_that_differ_are_other_models():
    assert Form(16) != Form(16, groups=2) != Form(16, covariates=1)


def test_a_law_is_identified_by_every_file_that_defines_it(monkeypatch):
    """The hash of one file is as before; a helper's file is part of it."""
    from moebook.files import sha256_hex

    def source(law):
        return ingredients("00" * 32, law, Priors(), Sampler(), 0)["law"]["source"]

    abnar, clark = laws.get("abnar"), laws.get("clark")
    assert source(abnar) == sha256_hex(abnar.files()[0].read_text("utf-8"))
    assert source(clark) == sha256_hex("".join(path.read_text("utf-8") for path in clark.files()))
    assert source(clark) != sha256_hex(clark.files()[0].read_text("utf-8"))
