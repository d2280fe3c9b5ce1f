"""Origins, leaks, the bootstrap's known answer, and what a set of scores comes to."""

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes import bootstrap, scoring
from moebook.bayes.mixture import Mixture
from moebook.bayes.origins import Leak, levels_of, origins, refuse_leaks
from moebook.errors import InputError


def test_levels_are_quarters_of_a_decade():
    found = levels_of(np.array([1e18, 1.1e18, 1.7e18, 1.8e18, 3e18, 9.9e18]))
    assert np.log10(found) == pytest.approx([18, 18, 18.25, 18.25, 18.5, 19])


def test_every_origin_that_leaves_enough_runs():
    levels = np.repeat(10.0 ** np.arange(17, 23), 10)  # 60 runs at six budgets
    found = origins(levels)
    assert [one.level for one in found] == [1e19, 1e20, 1e21]
    assert [one.kind for one in found] == ["inner", "inner", "top"]
    assert [len(one.fitted) for one in found] == [30, 40, 50]
    assert [len(one.asked) for one in found] == [30, 20, 10]
    for one in found:
        assert levels[one.fitted].max() == one.level < levels[one.asked].min()
        assert sorted([*one.fitted, *one.asked]) == list(range(60))
        assert (one.top == (levels[one.asked] == 1e22)).all()


def test_origins_may_be_fewer_and_lie_evenly():
    levels = np.repeat(10.0 ** np.arange(17, 27), 20)
    every = [one.level for one in origins(levels)]
    few = [one.level for one in origins(levels, most=3)]
    assert few[0] == every[0] and few[-2:] == every[-2:] and len(few) == 4


def test_an_origin_fits_more_rows_than_the_law_has_coefficients():
    levels = np.repeat([1e18, 1e19, 1e20], 4)
    assert [one.kind for one in origins(levels)] == ["top"]
    with pytest.raises(InputError, match="mine.csv: rows: 8 below the largest budgets: .* at least 11"):
        origins(levels, "mine.csv", least=11)
    with pytest.raises(InputError, match="mine.csv: budgets: 1: two are needed"):
        origins(np.full(40, 1e18), "mine.csv")


def test_a_run_asked_for_among_the_fitted_is_caught():
    rng = np.random.default_rng(0)
    rows = [rng.random(20) for _ in range(3)]
    sizes = np.arange(20.0)

    def check(fitted, asked):
        refuse_leaks([c[fitted] for c in rows], [c[asked] for c in rows], sizes[fitted], sizes[asked])

    check(np.arange(12), np.arange(12, 20))
    with pytest.raises(Leak, match="1 of the runs asked for are among those fitted"):
        check(np.append(np.arange(12), 15), np.arange(12, 20))
    with pytest.raises(Leak, match="lies within the budgets fitted"):
        check(np.append(np.arange(12), 15), np.arange(16, 20)[:0].tolist() + [12, 13])


def test_the_bootstrap_finds_the_error_that_least_squares_has(made):
    """A well-posed law with much normal noise: the spread of the forecast is that of the regression."""
    law = laws.get("clark-separable")
    rng = np.random.default_rng(2)
    size, experts = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 20), [1.0, 4.0, 16.0, 64.0]))
    noise = 0.02
    loss = law({"a": -0.08, "b": -0.05, "d": 1.1}, size, experts)
    table = {"params_active": size, "experts": experts}
    table["loss_nats"] = loss * np.exp(noise * rng.standard_normal(len(size)))
    at = {"params_active": np.array([1e8, 1e10]), "experts": np.array([8.0, 8.0])}
    found = bootstrap.baseline(bootstrap.fit_point(law, table), table, at)
    x = np.stack([np.ones(len(size)), np.log(size), np.log(experts)], axis=1)
    new = np.stack([np.ones(2), np.log(at["params_active"]), np.log(at["experts"])], axis=1)
    exact = noise * np.sqrt(np.einsum("ij,jk,ik->i", new, np.linalg.inv(x.T @ x), new))
    # Huber at .001 of residuals of .02 is nearly their median: pi / 2 times the variance.
    assert found.mean.std(axis=0) == pytest.approx(exact * np.sqrt(np.pi / 2), rel=0.25)
    assert found.sd == pytest.approx(np.full(found.sd.shape, noise), rel=0.15)
    truth = np.log(law({"a": -0.08, "b": -0.05, "d": 1.1}, *at.values()))
    assert (np.abs(found.average() - truth) < 4 * exact).all()


def test_a_share_at_its_end_can_still_be_bootstrapped(made):
    runs = made.made_runs(E=1e-9)
    table = {"params": runs.params, "tokens": runs.tokens, "loss_nats": runs.loss}
    fit = bootstrap.fit_point(laws.get("chinchilla"), table)
    found = bootstrap.baseline(fit, table, {"params": [1e9], "tokens": [1e11]}, draws=20)
    assert np.isfinite(found.mean).all() and found.mean.std() > 0


def test_a_bootstrap_that_runs_off_is_left_out_and_the_others_count(made):
    """Few runs of Eq. 6 at one sparsity but two: some bootstraps see none of these two."""
    law = laws.get("abnar")
    rng = np.random.default_rng(0)
    runs = made.made_runs(budgets=(1e18, 1e19))
    sparsity = np.where(np.arange(14) < 2, 0.5, 0.0)
    table = {
        "params": runs.params.to_numpy(), "tokens": runs.tokens.to_numpy(), "sparsity": sparsity,
        "loss_nats": runs.loss.to_numpy() * np.exp(0.01 * rng.standard_normal(14)),
    }  # fmt: skip
    fit = bootstrap.fit_point(law, table)
    at = {"params": [1e9], "tokens": [1e11], "sparsity": [1 - 1e-12]}
    found = bootstrap.baseline(fit, table, at, draws=40)
    assert 0 < len(found.weight) < 40 and found.weight.sum() == pytest.approx(1)


def result(table, group, kind, pit, crps, top=None, worse=2.0, beyond=None):
    """A stored result whose bootstrap has `worse` times the CRPS and half the log score."""
    n = len(pit)
    points = {"pit": pit, "crps": crps, "log_score": [1.0] * n}
    other = {"pit": [0.99] * n, "crps": [worse * c for c in crps], "log_score": [0.5] * n}
    top = top or [0] * n
    beyond = beyond or [2.0] * n
    return {
        "table": table, "group": group, "kind": kind,
        "points": {"top": top, "beyond": beyond, "model": points, "bootstrap": other},
    }  # fmt: skip


def test_a_tables_figure_is_the_mean_over_origins_of_the_mean_over_points():
    results = [
        result("a", "g", "inner", [0.5, 0.5, 0.99, 0.01], [1.0] * 4),
        result("a", "g", "inner", [0.5, 0.7], [3.0, 5.0], top=[0, 1]),
        result("a", "g", "top", [0.5], [7.0], top=[1]),
    ]
    inner = scoring.by_table(results, "inner")["a"]
    assert inner["model"] == {"coverage_50": 0.75, "coverage_90": 0.75, "crps": 2.0, "log_score": 1.0}
    assert (inner["origins"], inner["points"]) == (2, 5)
    assert scoring.by_table(results, "top")["a"]["model"]["crps"] == 7.0
    assert scoring.by_table(results, "all")["a"]["model"]["crps"] == pytest.approx((1 + 4 + 7) / 3)


def test_tables_are_pooled_with_an_interval_from_drawing_tables_and_groups_again():
    results = [
        result(f"t{i}", "many" if i < 8 else f"g{i}", "top", [0.5 if i < 8 else 0.99], [1.0 + i], [1])
        for i in range(10)
    ]
    found = scoring.summary(results)["top"]["pooled"]
    assert (found["tables"], found["groups"]) == (10, 3)
    assert found["model.coverage_90"]["value"] == pytest.approx(0.8)
    assert found["crps_ratio"]["value"] == found["crps_ratio_geometric"]["value"] == pytest.approx(0.5)
    assert found["log_score_better"] == {"value": 1.0, "tables": [1.0, 1.0], "groups": [1.0, 1.0]}
    by_tables, by_groups = (found["model.coverage_90"][kind] for kind in ("tables", "groups"))
    assert by_tables == pytest.approx([0.6, 1.0]) and by_groups == pytest.approx([0.0, 16 / 17])
    groups = scoring.summary(results)["top"]["groups"]
    assert groups["many"]["tables"] == 8 and groups["many"]["model"]["crps"] == pytest.approx(4.5)


def test_distance_is_how_far_above_the_fitted_budgets():
    results = [
        result("a", "g", "inner", [0.5, 0.99], [1.0, 2.0], beyond=[1.5, 30.0]),
        result("b", "h", "inner", [0.5], [3.0], beyond=[1.9]),
    ]
    near, far = scoring.by_distance(results)
    assert (near["from"], near["to"], near["tables"], near["points"]) == (1.0, 2.0, 2, 2)
    assert near["model"]["crps"] == 2.0 and far["to"] is None and far["model"]["coverage_90"] == 0.0


def test_stored_scores_are_those_of_the_forecast():
    forecast = Mixture(np.array([[0.0, 0.1]]), np.array([[0.1, 0.1]]), np.ones(1))
    found = scoring.scores(forecast, np.array([0.0, 0.3]))
    assert found["pit"] == pytest.approx([0.5, 0.97725], abs=1e-5)
    assert found["crps"][0] == pytest.approx(0.1 * (np.sqrt(2) - 1) / np.sqrt(np.pi), rel=1e-5)
    assert pd.Series(found["log_score"]).diff()[1] == pytest.approx(-2, abs=1e-5)


def test_what_intervals_held_is_the_mean_over_tables():
    def result(table, pit):
        return {"table": table, "points": {"model": {"pit": pit}}}

    results = [result("a", [0.5, 0.99]), result("a", [0.5, 0.5]), result("b", [0.04, 0.03])]
    assert scoring.held(results, 0.9) == ((0.75 + 0.0) / 2, 2)
    assert scoring.held(results, 0.99) == (1.0, 2)
