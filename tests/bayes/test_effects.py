"""Pooled tables, covariates, noise that changes with compute: known truths are found, bad input refused."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from scipy import stats

from moebook import bayes, laws
from moebook.bayes.assembly import add_weights
from moebook.bayes.effects import EXPONENTS, Wanted
from moebook.bayes.model import build
from moebook.bayes.prepared import Prepared
from moebook.bayes.priors import Priors
from moebook.bayes.request import request
from moebook.bayes.weights import drawn_exponents
from moebook.errors import InputError

SMALL = Priors(pairs=4)
QUICK = {"draws": 1500, "tune": 800, "progress": False}


def pooled_runs(made, offsets=(("a", -0.06), ("b", 0.01), ("c", 0.05))) -> pd.DataFrame:
    """The same cells under three recipes whose log losses differ by a constant."""
    parts = [
        made.made_runs(seed=i).assign(recipe=name, loss=lambda t, by=offset: t["loss"] * np.exp(by))
        for i, (name, offset) in enumerate(offsets)
    ]
    return pd.concat(parts, ignore_index=True)


def density_of(made, table, wanted, **given):
    """The model's log likelihood at TRUTH, tau = .02 and sigma = .01, and what it was prepared from."""
    law, truth = laws.get("chinchilla"), made.TRUTH
    asked = request(table, law, priors=SMALL, wanted=wanted)
    ready = Prepared.of(law, asked.rows, SMALL)
    model = build(law, SMALL, ready.form)
    with model:
        pm.set_data(ready.data(law, asked.rows))
        likelihood = model.potentials[0]
    size, data = (truth[a] / ready.units[q] ** truth[e]
                  for a, q, e in (("A", "params", "alpha"), ("B", "tokens", "beta")))  # fmt: skip
    level = truth["E"] + size + data
    totals = {
        "level": level, "data_share": data / level, "floor_of_rest": truth["E"] / (truth["E"] + size),
        "alpha": truth["alpha"], "beta": truth["beta"], "discrepancy_scale": 0.02, "noise_scale": 0.01,
    } | given  # fmt: skip
    sampled = [name for name in totals if name != "level" or wanted.noise_by_compute]
    inputs = [model[name] for name in sampled]
    function = pytensor.function(inputs, likelihood, on_unused_input="ignore", mode="FAST_COMPILE")
    return float(function(*(totals[name] for name in sampled))), asked, ready


def normal(residual, phi, scale, level_spread=0.0):
    """The density of residuals with the weights integrated out, by the rows' whole covariance; with a
    level_spread, the level too."""
    covariance = np.diag((0.01 * scale) ** 2) + 0.02**2 * phi @ phi.T + level_spread**2
    return stats.multivariate_normal(cov=covariance).logpdf(residual)


def residual_of(made, asked, shift=0.0):
    columns = asked.rows.columns
    curve = laws.get("chinchilla")(made.TRUTH, columns["params"], columns["tokens"])
    return np.log(asked.rows.loss_nats) - np.log(curve) - shift


def test_offsets_and_covariates_are_taken_from_the_log_loss(made):
    table = pooled_runs(made).assign(rate=lambda t: np.tile([-1.0, 0.0, 2.0], len(t) // 3))
    offsets, linear, square = np.array([-0.05, 0.02, 0.03]), np.array([0.01]), np.array([0.004])
    found, asked, ready = density_of(
        made, table, Wanted("recipe", ("rate",)), group_offset=offsets,
        covariate_linear=linear, covariate_square=square,
    )  # fmt: skip
    effects = asked.rows.effects
    x = effects.covariates["rate"]
    shift = offsets[effects.group_of_row] + 0.01 * x + 0.004 * x**2
    phi = ready.basis(*asked.rows.columns.values())
    columns = asked.rows.columns
    curve = laws.get("chinchilla")(made.TRUTH, *(ready.units[name] for name in columns))
    residual = residual_of(made, asked, shift) + np.log(curve) - np.log(asked.rows.loss_nats).mean()
    expected = normal(residual, phi, np.ones(len(x)), SMALL.level_spread)
    assert found == pytest.approx(expected, abs=1e-6)


def test_noise_by_compute_is_the_mean_over_its_exponents(made):
    found, asked, ready = density_of(made, made.made_runs(), Wanted(noise_by_compute=True))
    phi, logs = ready.basis(*asked.rows.columns.values()), np.log(asked.rows.points.compute_flops)
    each = [normal(residual_of(made, asked), phi, np.exp(-h * (logs - logs.mean()))) for h in EXPONENTS]
    assert found == pytest.approx(np.logaddexp.reduce(each) - np.log(len(each)), abs=1e-6)
    draws = 4000
    scaled = [(phi_h, noise) for phi_h, noise, _ in ready.scaled]
    residual = np.broadcast_to(residual_of(made, asked), (draws, len(logs)))
    chosen = drawn_exponents(scaled, residual, np.full(draws, 0.02), np.full(draws, 0.01), seed=0)
    share = np.bincount(chosen, minlength=len(each)) / draws
    expected = np.exp(np.array(each) - np.logaddexp.reduce(each))
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / draws)


@pytest.mark.slow
def test_recipes_of_a_pooled_table_are_told_apart_and_the_law_is_kept(made):
    table = pooled_runs(made)
    found = bayes.fit(table, "chinchilla", wanted=Wanted("recipe"), **QUICK)
    assert found.passed, found.summary["gates"]
    estimates = found.summary["estimates"]
    for name, offset in (("a", -0.06), ("b", 0.01), ("c", 0.05)):
        e = estimates[f"group_offset[{name}]"]
        assert e["q05"] - 0.005 < offset < e["q95"] + 0.005
    alone = bayes.fit(table, "chinchilla", **QUICK)
    assert np.median(found.draws("noise_scale")) < 0.4 * np.median(alone.draws("noise_scale"))
    assert found.identity != alone.identity
    shift = found.shift_of_groups(["a", None, None])
    assert np.median(shift[:, 0]) == pytest.approx(-0.06, abs=0.01)
    assert np.array_equal(shift[:, 1], shift[:, 2]) and shift[:, 1].std() > 3 * shift[:, 0].std()


@pytest.mark.slow
def test_noise_that_falls_with_compute_is_seen(made, tmp_path):
    table = pd.concat([made.made_runs(seed=i, noise=0.0) for i in range(4)], ignore_index=True)
    compute = 6 * table["params"] * table["tokens"]
    scale = 0.02 * (compute / np.exp(np.log(compute).mean())) ** -0.2
    table["loss"] *= np.exp(scale * np.random.default_rng(0).standard_normal(len(table)))
    found = bayes.fit(table, "chinchilla", wanted=Wanted(noise_by_compute=True), **QUICK)
    assert found.passed, found.summary["gates"]
    falls = {float(h): p for h, p in found.summary["noise_by_compute"].items()}
    assert sum(p for h, p in falls.items() if 0.05 < h) > 0.95
    assert falls[0.2] + falls[0.3] + falls[0.1] > 0.95
    scales = np.median(found.noise_scale(compute_flops=np.array([1e18, 1e21])), axis=0)
    assert scales[0] / scales[1] == pytest.approx(1000**0.2, rel=0.35)
    found.save(tmp_path / "posterior")
    again = bayes.Posterior.load(tmp_path / "posterior")
    assert np.array_equal(again.noise_scale(compute_flops=np.array([1e18])),
                          found.noise_scale(compute_flops=np.array([1e18])))  # fmt: skip


def test_weights_of_draws_with_different_noise_are_independent(made):
    """Rows that say nothing of the misfit: its weights are normals, of every draw its own."""
    runs = made.made_runs()
    asked = request(runs, "chinchilla", priors=SMALL, wanted=Wanted(noise_by_compute=True))
    ready = Prepared.of(asked.law, asked.rows, SMALL)
    found = made.made_posterior(runs, noise=10.0, misfit=1e-9)
    add_weights(found, ready, seed=0)
    weights = found.draws("discrepancy_weights")
    assert len(np.unique(found.draws("noise_exponent"))) > 3
    assert len(np.unique(weights[:, 0])) == len(weights)
    assert abs(weights.std() - 1) < 0.02


@pytest.mark.parametrize(
    ("wanted", "change", "said"),
    [
        (Wanted("team"), {}, "made: --group: team: no such column; there are params, tokens, loss"),
        (Wanted("one"), {"one": "x"}, "made: one: x: one group has no other"),
        (Wanted("many"), {"many": range(28)}, "made: many: 28 groups for 28 rows"),
        (Wanted("gaps"), {"gaps": ["a", None] * 14}, "made: row 2: gaps: is blank"),
        (Wanted("", ("rate",)), {"rate": 0.5}, "made: rate: 0.5: the same in every row"),
        (Wanted("", ("rate",)), {"rate": ["1", "fast"] * 14}, "made: row 2: rate: fast: must be a number"),
    ],
)
def test_effects_that_cannot_be_are_refused(made, wanted, change, said):
    with pytest.raises(InputError, match=said):
        request(made.made_runs().assign(**change), "chinchilla", source="made", wanted=wanted)


def test_heavy_tails_and_noise_by_compute_are_either_or(made):
    with pytest.raises(InputError, match="not both"):
        request(
            made.made_runs(),
            "chinchilla",
            priors=Priors(tail_limit=0.5),
            wanted=Wanted(noise_by_compute=True),
        )


def test_a_fit_without_effects_keeps_its_identity(made):
    """Hashes of rows do not change because effects exist."""
    plain, named = (request(made.made_runs(), "chinchilla", wanted=w) for w in (None, Wanted()))
    assert plain.identity == named.identity
