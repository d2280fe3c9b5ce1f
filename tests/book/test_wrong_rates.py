"""The optimum at half and twice the rates: the losses that are fitted, and what the book says of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from moebook.book import profiles
from moebook.book.contents import wrong_rates
from moebook.book.contents.curves import posterior
from moebook.book.contents.runs import run_table
from moebook.book.contents.tuning import rate_rule
from moebook.study.wrong_rate import changes_nats


def test_the_losses_that_are_fitted_are_those_of_the_rule_and_nothing_else_changes():
    runs = profiles.done_runs(run_table(), "english")
    found = wrong_rates.at_factor("english", 2.0)
    moved = runs["loss_nats"] + changes_nats(rate_rule("tune-english"), runs, 2.0)
    assert found.passed and sorted(found.rows["loss_nats"]) == pytest.approx(sorted(moved), abs=1e-12)
    assert sorted(found.rows["params"]) == sorted(runs["params"])
    ours, stored = found.summary["ingredients"], posterior("english").summary["ingredients"]
    assert {name for name in ours if ours[name] != stored[name]} == {"data"}


def made(medians):
    """An optimum whose interval is .9 to .98 and whose median is that of its factor."""

    def optimum(text, factor, compute_flops):
        return SimpleNamespace(interval=lambda level: (0.9, 0.98), median=lambda: medians[factor])

    return optimum


@pytest.mark.parametrize("half, says", [
    (0.92, "leave the median inside the interval at every budget. They move it by 0.7 doublings"),
    (0.5, "inside the interval, but for 0.5 times at 10¹² FLOPs, where it lies outside. They move it by 3.3"),
])  # fmt: skip
def test_the_sentence_says_where_another_rate_would_have_answered_otherwise(monkeypatch, half, says):
    monkeypatch.setattr(wrong_rates, "_optimum", made({0.5: half, 1.0: 0.95, 2.0: 0.95}))
    monkeypatch.setattr(wrong_rates, "study_of", lambda text: "made")
    monkeypatch.setattr(wrong_rates, "fitted_budgets", lambda text: [1e12])
    monkeypatch.setattr(wrong_rates, "_beyond", lambda text: "")
    assert says in wrong_rates.wrong_rate_optimum_in_words("english")


def test_a_text_without_tuning_is_said_to_have_none(monkeypatch):
    monkeypatch.setattr(wrong_rates, "tuning_studies", lambda: [])
    assert str(wrong_rates.wrong_rate_optimum("packages")) == ""
    assert "no rate was tuned" in wrong_rates.wrong_rate_optimum_in_words("packages")
    assert wrong_rates.tuned_texts() == []


def test_a_rule_that_reaches_less_far_than_the_study_is_said_to_be_extrapolated():
    table = run_table()
    tuned = table[(table["purpose"] == "tuning") & (table["text"] == "english")]["sparsity"].max()
    reached = profiles.done_runs(table, "english")["sparsity"].max()
    assert ("extrapolated" in wrong_rates._beyond("english")) == bool(reached > tuned)
    assert not np.isnan(tuned)
