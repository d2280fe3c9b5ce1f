"""The fit without its largest budget: the rows it has, and what the book says of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from moebook.book import profiles
from moebook.book.contents import hindsight
from moebook.book.contents.curves import fitted_budgets, posterior
from moebook.book.contents.runs import run_table
from moebook.optimum import optimum


def test_the_largest_budget_is_left_out_and_nothing_else():
    runs = profiles.done_runs(run_table(), "english")
    kept = runs[runs["budget_flops"] < fitted_budgets("english")[-1]]
    found = hindsight.without_largest("english")
    assert found.passed and found.identity != posterior("english").identity
    assert sorted(found.rows["loss_nats"]) == sorted(kept["loss_nats"]) != sorted(runs["loss_nats"])
    ours, stored = found.summary["ingredients"], posterior("english").summary["ingredients"]
    assert {name for name in ours if ours[name] != stored[name]} == {"data"}


def test_its_optimum_stands_beside_that_of_all_runs():
    budgets = fitted_budgets("english")
    html = hindsight.hindsight_table("english")
    assert html.count("<tr") == len(budgets) + 1
    before = optimum(hindsight.without_largest("english"), compute_flops=budgets[0])
    assert f"{before.median():.3f}".rstrip("0") in html


@pytest.mark.parametrize(("before", "word"), [((0.5, 0.7), "does not hold"), ((0.8, 0.97), " holds")])
def test_the_sentence_compares_interval_and_median(monkeypatch, before, word):
    def made(fit, compute_flops):
        low, high = before if fit == "few" else (0.85, 0.95)
        return SimpleNamespace(
            interval=lambda level: (low, high), median=lambda: np.mean([low, high]),
            identified=fit != "few", verdict="not identified: for a reason",
        )  # fmt: skip

    monkeypatch.setattr("moebook.optimum.optimum", made)
    monkeypatch.setattr(hindsight, "posterior", lambda text: "all")
    monkeypatch.setattr(hindsight, "without_largest", lambda text: "few")
    said = hindsight.hindsight_in_words("english")
    assert f"{word} the median" in said and "alone it was not identified." in said
    assert f"{np.log2((1 - before[0]) / (1 - before[1])):.1f} doublings" in said
