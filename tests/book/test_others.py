"""The chapter on other people's runs says what the stored refits say; a failed posterior stops it."""

from __future__ import annotations

import copy

import pytest

from moebook.bayes.refits import load_refits
from moebook.book import project_root
from moebook.book.contents import others, others_recipes, others_wrong
from moebook.errors import InputError

STORED = project_root() / "runs" / "refits" / "public.json"


@pytest.fixture
def tables(monkeypatch):
    """A copy of the stored refits, to be changed, that every sentence reads."""
    found = copy.deepcopy(load_refits(STORED)["tables"])
    for module in (others, others_recipes, others_wrong):
        monkeypatch.setattr(module, "refits", lambda: found)
    return found


def test_a_printed_value_that_is_moved_is_said_to_be_off(tables):
    before = others.printed_in_words()
    assert "**Clark, Hash:** 6 of 6 printed coefficients lie within one standard error" in before
    one = tables["clark2022"]["parts"]["Hash"]["fits"]["clark"]["point"]["coefficients"]["a"]
    one |= {"printed": one["value"] + 9 * one["error"], "apart": 9.0}
    assert "**Clark, Hash:** 5 of 6 printed" in others.printed_in_words()


def test_held_out_runs_are_counted_with_the_signs_of_their_intervals(tables):
    held = tables["clark2022"]["parts"]["Hash"]["held_out"]
    held |= {"miss": 0.03, "rows": 9}
    held["posterior"] = {"low": -0.01, "middle": 0.9, "high": 0.02, "inside": 4}
    said = others_wrong.held_out_in_words()
    assert "3.0 % too high for the 9 largest" in said and "from −1.0 % to +2.0 %, and holds 4 of 9" in said
    assert "nearer to what was measured for 2 of 3" in said


def test_forms_are_told_apart_only_by_more_than_two_errors(tables):
    for router in others.ROUTERS:
        compared = tables["clark2022"]["parts"][router]["comparison"]
        for law, one in compared.items():
            one |= {"difference": 0.0 if law == "clark" else -30.0, "error": 3.0, "doubtful": 0}
    assert "says the same for every router" in others_wrong.forms_in_words()
    tables["clark2022"]["parts"]["Hash"]["comparison"]["clark-bilinear"]["difference"] = -5.0
    assert "clearly for S-Base and RL-R:" in others_wrong.forms_in_words()


def test_recipes_whose_intervals_do_not_touch_are_named(tables):
    parts = tables["porian2024"]["parts"]
    for short in others_recipes.CORPORA:
        for step in others_recipes.STEPS:
            one = parts[f"{short} {step}"]["fits"]["chinchilla"]
            one["point"]["best_size"] = {"low": 0.5, "value": 0.55, "high": 0.6}
            one["posterior"]["best_size"] = {"q05": 0.52, "q50": 0.56, "q95": 0.58}
    assert "In all 10 cases the two intervals overlap" in others_recipes.recipes_in_words()
    last = parts["rw tuned short const standard val"]["fits"]["chinchilla"]["posterior"]
    last["best_size"] = {"q05": 0.7, "q50": 0.8, "q95": 0.9}
    said = others_recipes.recipes_in_words()
    assert "In 1 of 10 cases, tuned by size on RefinedWeb, the two" in said
    assert "0.80 (0.70 to 0.90) for “tuned by size”" in said and "narrower in 9." in said
    last["best_size"] = None
    assert "0.56 (0.52 to 0.58) for “decay to the budget”" in others_recipes.recipes_in_words()
    assert "–</td>" in others_recipes.recipe_table()


def test_the_miss_is_counted_in_the_noise_of_seeds(tables):
    tables["clark2022"]["seed_noise"]["relative"] = 0.0037
    said = others_wrong.spread_of_laws_in_words()
    assert said.startswith("Clark's law misses by 2 to 2 times what another seed changes.")


def test_a_posterior_that_failed_a_gate_stops_the_chapter(tables):
    fits = tables["porian2024"]["parts"]["rw base long kaplan kaplan train"]["fits"]
    fits["chinchilla"]["posterior"] = {"identity": "x", "status": "failed", "gates": []}
    with pytest.raises(InputError, match="rw base long kaplan kaplan train.*failed a gate"):
        others_recipes.recipe_table()
    del tables["clark2022"]["parts"]["Hash"]["held_out"]["posterior"]
    with pytest.raises(InputError, match="clark2022, Hash: held_out: the posterior failed"):
        others_wrong.held_out_in_words()


def test_figures_show_every_row(tables):
    assert others.coefficient_figure().count("<svg") == 1
    assert others_recipes.recipe_figures().count("<svg") == 2
    assert others.coefficient_table().count("<tr>") == 1 + 5 + 3 * 6
    assert others_recipes.recipe_table().count("<tr>") == 16
