"""Forecasts: intervals of the stated width about the law, flags outside the fitted runs, bad rows refused."""

import numpy as np
import pandas as pd
import pytest

from moebook import bayes, laws
from moebook.bayes.prediction import forecast
from moebook.errors import InputError


@pytest.fixture(scope="module")
def posterior(made):
    return made.made_posterior(made.made_runs(), spread=0.02, draws=4000)


def test_intervals_hold_their_share_of_what_the_model_says(posterior, made):
    table = pd.DataFrame({"params": [1e8, 1e9], "tokens": [1e10, 1e11]})
    found = forecast(posterior, table, 0.8)
    law = laws.get("chinchilla")
    truth = law(made.TRUTH, table.params, table.tokens).to_numpy()
    z = 1.2816  # of a normal interval of 80 %
    for (low, middle, high), spread in ((found.curve, 0.02), (found.run, np.hypot(0.02, made.NOISE))):
        assert middle == pytest.approx(truth, rel=0.002)
        assert np.log(high / low) == pytest.approx(2 * z * spread, rel=0.05)


def test_rows_beyond_the_fitted_runs_are_flagged_with_how_far(posterior):
    table = pd.DataFrame(
        {"params": [1e8, 8e9, 1e6, 1e8], "tokens": [1e10, 1e10, 1e10, 1e14], "row": ["a", "b", "c", "d"]}
    )
    found = forecast(posterior, table)
    assert found.extrapolates.tolist() == [False, True, True, True]
    assert found.outside(0) == ""
    assert found.outside(1) == "params 4 times above"
    assert found.outside(2) == "params 10 times below, compute_flops 16.7 times below"
    assert "tokens 6 times above" in found.outside(3) and "compute_flops 60 times above" in found.outside(3)
    assert found.table()["params_beyond"].tolist() == pytest.approx([1, 4, 0.1, 1])


def test_an_end_of_the_fitted_range_is_inside(posterior):
    ends = pd.DataFrame({name: posterior.rows[name] for name in ("params", "tokens")})
    assert not forecast(posterior, ends).extrapolates.any()


def test_tokens_come_from_compute_as_the_posterior_was_read(posterior):
    by_compute = forecast(posterior, pd.DataFrame({"params": [1e8], "flops": [6e18]}))
    by_tokens = forecast(posterior, pd.DataFrame({"params": [1e8], "tokens": [1e10]}))
    assert by_compute.curve == pytest.approx(by_tokens.curve)
    assert by_compute.points.derived[0].startswith("D = C / (6 N")


def test_the_names_of_the_fitted_table_are_known_again(made):
    runs = made.made_runs().rename(columns={"params": "how_big"})
    fitted = made.made_posterior(runs.rename(columns={"how_big": "params"}))
    fitted.summary["columns"][0]["column"] = "how_big"
    found = forecast(fitted, pd.DataFrame({"how_big": [1e8], "tokens": [1e10]}))
    assert found.points.columns["params"].tolist() == [1e8]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"params": -1, "tokens": 1e10}, "row 1: params: -1: must be positive"),
        ({"params": "", "tokens": 1e10}, "row 1: params: is blank"),
        ({"params": "7B", "tokens": 1e10}, "row 1: params: '7B' is text"),
        ({"params": 1e8}, "tokens: no column for it"),
    ],
)
def test_bad_rows_are_refused(posterior, row, says):
    with pytest.raises(InputError) as error:
        forecast(posterior, pd.DataFrame([row]), source="--at")
    assert says in str(error.value) and str(error.value).startswith("--at: ")


@pytest.mark.parametrize("level", [0, 1, 0.9999, -0.5, np.nan])
def test_an_interval_that_the_draws_cannot_tell_is_refused(posterior, level):
    with pytest.raises(InputError, match="--interval"):
        forecast(posterior, pd.DataFrame({"params": [1e8], "tokens": [1e10]}), level)


def test_a_failed_posterior_forecasts_nothing(posterior):
    failed = bayes.Posterior(posterior.data, {**posterior.summary, "status": "failed"})
    with pytest.raises(bayes.FailedPosterior):
        forecast(failed, pd.DataFrame({"params": [1e8], "tokens": [1e10]}))


def test_sparsity_counts_by_the_experts_for_each_active_one(pytestconfig):
    stored = bayes.Posterior.load(pytestconfig.rootpath / "runs" / "posteriors" / "english")
    top = stored.rows["sparsity"].max()
    table = pd.DataFrame({"N": [1e5], "D": [1e7], "S": [1 - (1 - top) / 3]})
    assert forecast(stored, table).outside(0) == "sparsity 3 times above in 1/(1 - S)"


def both(made, **changes):
    """Two posteriors of the same runs, the second with a law that is off by `changes`."""
    runs = made.made_runs()
    other = made.made_posterior(runs, spread=0.002, draws=300, seed=1, **changes)
    return {"one": made.made_posterior(runs, spread=0.002, draws=300), "other": other}


def test_several_posteriors_are_mixed_by_their_weights(made):
    models = both(made, E=1.9)
    table = pd.DataFrame({"params": [1e8], "tokens": [1e10]})
    alone = {name: forecast(one, table) for name, one in models.items()}
    for name in models:
        only = forecast(models, table, weights={"one": 0.0, "other": 0.0, name: 1.0})
        assert only.run == pytest.approx(alone[name].run)
    half = forecast(models, table, weights={"one": 0.5, "other": 0.5})
    assert alone["one"].run[1] < half.run[1] < alone["other"].run[1]
    assert np.ptp(half.run[[0, 2]]) > 1.5 * np.ptp(alone["one"].run[[0, 2]])
    assert half.weights == {"one": 0.5, "other": 0.5} and alone["one"].weights == {}


def test_weights_are_those_of_stacking_unless_they_are_given(made):
    models = both(made, E=1.9)
    found = forecast(models, pd.DataFrame({"params": [1e8], "tokens": [1e10]}))
    assert found.weights == bayes.compare(models).weights and found.weights["one"] > 0.95
    for wrong in ({"one": 1.0}, {"one": 0.7, "other": 0.7}):
        with pytest.raises(InputError, match="weights"):
            forecast(models, pd.DataFrame({"params": [1e8], "tokens": [1e10]}), weights=wrong)


def test_posteriors_of_different_rows_are_not_mixed(made):
    models = {**both(made), "third": made.made_posterior(made.made_runs(seed=3))}
    with pytest.raises(InputError, match="were fitted to different rows"):
        forecast(models, pd.DataFrame({"params": [1e8], "tokens": [1e10]}))


@pytest.mark.slow
def test_laws_with_different_columns_are_mixed(made, pytestconfig):
    sparse = bayes.Posterior.load(pytestconfig.rootpath / "runs" / "posteriors" / "english")
    rows = sparse.rows
    table = pd.DataFrame({name: rows[name] for name in ("params", "tokens")}).assign(loss=rows["loss_nats"])
    models = {"plain": made.made_posterior(table, E=1.0, A=30.0, B=60.0), "sparse": sparse}
    asked = pd.DataFrame({"N": [1e5], "D": [1e7], "S": [0.9]})
    found = forecast(models, asked)
    assert list(found.points.columns) == ["params", "tokens", "sparsity"]
    assert set(found.beyond) >= {"params", "tokens", "sparsity"}
    with pytest.raises(InputError, match="sparsity: no column"):
        forecast(models, asked.drop(columns="S"))


def test_a_column_of_groups_must_be_there_and_mean_something(posterior):
    table = pd.DataFrame({"params": [1e8], "tokens": [1e10], "recipe": ["a"]})
    with pytest.raises(InputError, match="--group: corpus: no such column; there are params, tokens, recipe"):
        forecast(posterior, table, group="corpus")
    with pytest.raises(InputError, match="--group: recipe: the posterior was fitted without groups"):
        forecast(posterior, table, group="recipe")
