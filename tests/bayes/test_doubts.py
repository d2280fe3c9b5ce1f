"""What is odd about a table is said before it is fitted, and nothing is said of a sound one."""

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes.data import take_rows
from moebook.bayes.doubts import budgets, doubts
from moebook.bayes.request import request

CHINCHILLA, ABNAR = laws.get("chinchilla"), laws.get("abnar")


def said(table, law=CHINCHILLA, **options):
    return {doubt.name: doubt.says for doubt in doubts(take_rows(table, law, **options), law)}


def test_a_sound_table_raises_no_doubt(runs):
    assert said(runs) == {}
    sparse = runs.assign(sparsity=np.resize([0, 0.5, 0.75], len(runs)), params_active=runs.params / 2)
    assert said(sparse, ABNAR) == {}


def planted(runs):
    """{name of the doubt: a table that deserves it}."""
    one = runs.assign(tokens=20 * runs.params)
    equal = runs.copy()
    equal.loc[[3, 11], "loss"] = 2.75
    return {
        "confounded": one,
        "few budgets": runs.iloc[:10],
        "narrow params": runs[(runs.params < 2e8) & (runs.params > 2e7)],
        "narrow tokens": runs.assign(tokens=runs.tokens.clip(1e10, 3e10)),
        "equal losses": equal,
        "rounded losses": runs.round({"loss": 2}),
        "duplicated rows": pd.concat([runs, runs.iloc[:2]]),
        "replicates": pd.concat([runs, runs.iloc[:2].assign(loss=runs.loss + 0.01)]),
        "rising loss": runs.assign(loss=1 / runs.loss),
        "unread sparsity": runs.assign(S=np.resize([0, 0.5], len(runs))),
        "small params": runs.assign(params=runs.params / 1e6),
        "units of compute": runs.assign(flops=runs.params * runs.tokens / 1e6),
        "training loss": runs.rename(columns={"loss": "train_loss"}),
        "large params": runs.assign(params=runs.params * 1e8),
        "odd losses": runs.assign(loss=runs.loss.where(runs.index != 6, 9.0)),
        "active as all": runs.assign(S=np.resize([0, 0.9], len(runs)), params_active=runs.params),
        "uneven compute": runs.assign(C=6 * runs.params * runs.tokens * np.resize([1, 4], len(runs))),
    }


@pytest.mark.parametrize(
    "name",
    [
        "confounded", "few budgets", "narrow params", "narrow tokens", "equal losses", "rounded losses",
        "duplicated rows", "replicates", "rising loss", "unread sparsity", "small params", "units of compute",
        "training loss", "large params", "odd losses", "active as all", "uneven compute",
    ],
)  # fmt: skip
def test_each_oddity_is_said(name, runs):
    assert name in said(planted(runs)[name])


def test_active_parameters_show_a_sparsity_that_no_column_gives(runs):
    table = runs.assign(params_active=runs.params * np.resize([1, 0.3], len(runs)))
    assert "params_active is 0.3 to 1 of params" in said(table)["unread sparsity"]


def test_oddities_are_said_with_their_numbers(runs):
    tables = planted(runs)
    assert "row 7 has a loss of 9 nats where the others say about" in said(tables["odd losses"])["odd losses"]
    assert "20 to 20 tokens a parameter" in said(tables["confounded"])["confounded"]
    assert "2 budgets of compute only" in said(tables["few budgets"])["few budgets"]
    assert "(2.75)" in said(tables["equal losses"])["equal losses"]
    assert "2 configurations were run more than once (4 runs" in said(tables["replicates"])["replicates"]
    assert (
        "2 rows are copies of another (row 21 for one)" in said(tables["duplicated rows"])["duplicated rows"]
    )
    single = runs.assign(sparsity=0.75)
    assert "every run has sparsity 0.75" in said(single, ABNAR)["single sparsity"]
    seeds = pd.concat([runs, runs.iloc[:3]]).assign(seed=[0] * len(runs) + [1] * 3)
    assert "duplicated rows" not in said(seeds), "the same loss of another seed is no copied row"


def test_losses_of_three_decimals_may_coincide():
    rng = np.random.default_rng(1)
    size = 200
    table = pd.DataFrame({"params": 10 ** rng.uniform(7, 9, size), "tokens": 10 ** rng.uniform(9, 11, size)})
    loss = CHINCHILLA(CHINCHILLA.published, table.params, table.tokens)
    assert loss.round(3).duplicated().sum() > 3
    assert "equal losses" not in said(table.assign(loss=loss.round(3)))


def test_budgets_gather_runs_of_about_the_same_compute():
    compute = np.array([1e18, 1.1e18, 0.95e18, 1e19, 1.2e19, 1e21])
    assert budgets(compute).tolist() == [0, 0, 0, 1, 1, 2]
    assert budgets(np.geomspace(1e18, 1e20, 50)).max() > 5


def test_perplexities_are_doubted(made):
    runs = made.made_runs()
    asked = request(runs.assign(loss=np.exp(runs["loss"])), "chinchilla", source="made")
    assert "high losses" in {doubt.name for doubt in asked.doubts}
    assert "high losses" not in {doubt.name for doubt in request(runs, "chinchilla").doubts}
