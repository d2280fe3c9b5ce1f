"""Large tables by a few of their rows: the density is that of all rows, or else all rows are used."""

from dataclasses import replace

import numpy as np
import nutpie
import pandas as pd
import pytest

from moebook import bayes, laws
from moebook.bayes import fitting, reduced
from moebook.bayes.compiled import compiled_model
from moebook.bayes.model import Form
from moebook.bayes.prepared import Prepared
from moebook.bayes.priors import Priors
from moebook.bayes.request import Sampler, request

SMALL = Priors(pairs=4, growth=0.0)
TRUTH = {
    "chinchilla": {"alpha": 0.45, "beta": 0.4, "A": 55.0, "B": 118.0, "E": 1.0},
    "abnar": {
        "alpha": 0.45, "beta": 0.40, "gamma": 0.25, "lambda": -0.17, "delta": 0.10,
        "a": 55.0, "b": 118.0, "c": 0.3, "d": 6.0, "e": 0.6,
    },
}  # fmt: skip
QUICK = Sampler(chains=4, draws=500, tune=300, prior_draws=700)


def many_runs(name, rows, seed=0):
    """A table of runs of a law, with 1 % noise."""
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(9.5, 14.5, rows)), np.exp(rng.uniform(13.5, 17.5, rows))
    columns = {
        "params": n,
        "tokens": d,
        "compute_flops": 6 * n * d,
        "sparsity": rng.choice([0.0, 0.5, 0.75, 0.875, 0.9375], rows),
        "granularity": rng.choice([1.0, 2.0, 4.0], rows),
    }
    law = laws.get(name)
    values = [columns[column] for column in law.columns]
    truth = TRUTH.get(name) or medians(law, law.units(*values))
    loss_nats = law(truth, *values) * np.exp(0.01 * rng.standard_normal(rows))
    return pd.DataFrame({column: columns[column] for column in law.columns} | {"loss_nats": loss_nats})


def medians(law, units):
    """Coefficients at the medians of a law's stated priors."""
    return law.at(units).from_totals({total: prior.median for total, prior in law.priors.items()})


def reduction_of(name, table, priors):
    """(request, prepared rows, data of the model, totals drawn from the prior, the reduction)."""
    asked = request(table, name, priors=priors)
    made = Prepared.of(asked.law, asked.rows, priors)
    data = fitting.seen(made.data(asked.law, asked.rows))
    model = fitting.build(asked.law, priors, made.form)
    with model:
        fitting.pm.set_data(made.data(asked.law, asked.rows))
    prior = fitting._draw_prior(model, asked.law, priors, made.form, QUICK, 0)
    totals = {total: prior[total].values[0] for total in asked.law.totals}
    return asked, made, data, totals, reduced.reduction(asked.law, made.units, totals, data)


@pytest.mark.parametrize(
    "name", ["chinchilla", *(pytest.param(name, marks=pytest.mark.slow) for name in ("abnar", "tian"))]
)
def test_the_density_is_that_of_all_rows(name, evaluate, monkeypatch):
    monkeypatch.setattr(nutpie, "compile_pymc_model", None)  # written by us, not by nutpie
    asked, made, data, _, few = reduction_of(name, many_runs(name, 3000), SMALL)
    assert len(few.nodes) < 3000 / 8
    model, whole = compiled_model(asked.law, SMALL, made.form)
    whole = whole.with_data(**data)
    lean = compiled_model(asked.law, SMALL, made.form, reduced=True)[1].with_data(**few.data)
    assert whole.n_dim == lean.n_dim
    start = model.initial_point()
    centre = np.concatenate([np.ravel(start[model.rvs_to_values[v].name]) for v in model.free_RVs])
    for seed in range(4):
        point = centre + np.random.default_rng(seed).normal(0, 0.1, whole.n_dim)
        value, slopes = evaluate.log_density(whole, point)
        found, gradient = evaluate.log_density(lean, point)
        assert found == pytest.approx(value, abs=reduced.CHANGE)
        assert gradient == pytest.approx(slopes, rel=1e-6, abs=1e-6 * np.abs(slopes).max())
        kept = evaluate.expanded(lean, point)
        assert "level" in kept
        for quantity, expected in evaluate.expanded(whole, point).items():
            assert kept[quantity] == pytest.approx(expected, rel=1e-8), quantity


def test_the_change_of_the_density_is_computed_from_all_rows():
    """Beside the rows' whole covariance, for nodes that are wrong along the residuals."""
    asked, _, _, totals, few = reduction_of("chinchilla", many_runs("chinchilla", 3000), SMALL)
    one = {total: values[600:601] for total, values in totals.items()}  # it chose no nodes
    one |= {"discrepancy_scale": np.array([0.02]), "noise_scale": np.array([0.01])}
    curve = reduced._log_curves(asked.law, few.units, one, few.columns)[0]
    r = few.log_loss - curve
    assert few.worst_change(one) < 1e-3
    error = 1e-6 * r
    # The first node has weight on every row: what it is off by reaches all of them.
    weights = few.weights + np.outer(error, np.eye(len(few.nodes))[0]) / curve[few.nodes[0]]
    covariance = 0.01**2 * np.eye(3000) + 0.02**2 * few.phi @ few.phi.T
    change = np.linalg.solve(covariance, r) @ error
    assert replace(few, weights=weights).worst_change(one) == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize(("kept", "precision"), [(0.1, 1e-10), (1.0, 1e-3)])
def test_too_few_curves_or_too_many_nodes_leave_a_table_whole(monkeypatch, kept, precision):
    asked, made, data, totals, _ = reduction_of("chinchilla", many_runs("chinchilla", 3000), SMALL)
    totals = {total: values[: int(kept * len(values))] for total, values in totals.items()}
    monkeypatch.setattr(reduced, "PRECISION", precision)
    found = reduced.reduction(asked.law, made.units, totals, data)
    assert (found is None) == (kept < 1)
    monkeypatch.setattr(reduced, "MOST_CURVES", 0.001)
    assert reduced.reduction(asked.law, made.units, totals, data) is None


def test_a_table_too_small_for_its_curves_is_left_whole():
    assert reduction_of("chinchilla", many_runs("chinchilla", 200), SMALL)[-1] is None


def test_only_the_plain_model_is_reduced():
    assert reduced.reducible(SMALL, Form(8))
    assert not reduced.reducible(replace(SMALL, tail_limit=0.5), Form(8))
    for form in (Form(8, groups=2), Form(8, covariates=1), Form(8, exponents=3)):
        assert not reduced.reducible(SMALL, form)


@pytest.mark.slow
def test_few_rows_and_all_rows_give_one_posterior(monkeypatch, capsys):
    table = many_runs("chinchilla", 3000)
    few = bayes.fit(table, "chinchilla", priors=SMALL, sampler=QUICK)
    assert "rows that stand for all 3,000" in capsys.readouterr().err
    monkeypatch.setattr(fitting.reduced, "reducible", lambda priors, form: False)
    whole = bayes.fit(table, "chinchilla", priors=SMALL, sampler=QUICK)
    assert few.passed and whole.passed and few.identity == whole.identity
    for name, one in few.summary["estimates"].items():
        other = whole.summary["estimates"][name]
        error = np.hypot(one["sd"] / one["ess_bulk"] ** 0.5, other["sd"] / other["ess_bulk"] ** 0.5)
        assert abs(one["mean"] - other["mean"]) < 4 * error, name


@pytest.mark.slow
def test_where_nodes_do_not_stand_for_all_rows_all_are_used(monkeypatch, capsys):
    """Planted: nodes chosen so coarsely that the curves are wrong between them."""
    table, sampler = many_runs("chinchilla", 3000), replace(QUICK, draws=60, tune=100, again=1)
    monkeypatch.setattr(reduced, "PRECISION", 1e-3)
    found = bayes.fit(table, "chinchilla", priors=SMALL, sampler=sampler)
    assert "once more, with all rows" in capsys.readouterr().err
    monkeypatch.setattr(fitting.reduced, "reducible", lambda priors, form: False)
    whole = bayes.fit(table, "chinchilla", priors=SMALL, sampler=sampler, progress=False)
    assert np.array_equal(found.draws("alpha"), whole.draws("alpha"))
