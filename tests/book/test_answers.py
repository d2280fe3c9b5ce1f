"""The sentences of the answer follow the draws, and say what is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moebook.book.contents import answers
from moebook.book.contents.answers import headline, optimum_sentence, trend_sentence
from moebook.book.contents.curves import Curve, slider_budgets
from moebook.runs import load_table


def made_curve(star: np.ndarray, verdict: str = "identified", top: float = 31 / 32) -> Curve:
    """Two budgets; star: [draws, 2]."""
    ones = np.ones_like(star)
    grid = 1 - 2.0 ** -np.linspace(0, 5, 21)
    return Curve(
        text="english", identity="f" * 64, compute_flops=np.array([1e11, 1e12]), sparsity_star=star,
        params_star=3e5 * ones, params_active_star=5e4 * ones, tokens_star=2e6 * ones,
        verdicts=(verdict, verdict), fitted=(1e11, 1e12), sparsity_grid=np.append(grid[:-1], top),
        loss_nats={name: np.ones((2, 21)) for name in ("low", "middle", "high")},
    )  # fmt: skip


def draws(first: float, last: float, spread: float = 0.02) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, spread, (500, 2))
    return np.clip(np.array([first, last]) + noise, 0, 31 / 32)


def test_an_identified_optimum_is_given_with_its_interval_and_in_experts():
    found = made_curve(draws(0.7, 0.8))
    low, high = np.quantile(found.sparsity_star[:, 1], [0.05, 0.95])
    sentence = optimum_sentence(found, 1)
    assert sentence.startswith("at 10¹² FLOPs, the best sparsity is 0.80, ")
    assert f"between {low:.2f} and {high:.2f}" in sentence
    assert f"{1 / (1 - low):.0f} to {1 / (1 - high):.0f} experts" in sentence


def test_an_optimum_at_the_edge_is_a_lower_bound_and_never_a_value():
    star = np.where(np.arange(1000)[:, None] % 4 == 0, 0.9, 31 / 32) * np.ones((1, 2))
    sentence = optimum_sentence(made_curve(star, "not identified: 75 % of the mass lies at the edge"), 1)
    assert "at least 0.900 with 95 % probability" in sentence
    assert "not identified: 75 % of the posterior lies at the largest sparsity trained, 31/32" in sentence
    assert "the best sparsity is 0.9" not in sentence


def test_an_optimum_that_the_prior_decides_says_so():
    sentence = optimum_sentence(made_curve(draws(0.5, 0.5), "not identified: the prior decides"), 0)
    assert "not identified: the prior decides" in sentence and "median 0.50" in sentence


def test_mass_on_the_dense_model_is_said():
    star = np.where(np.arange(1000)[:, None] % 4 == 0, 0.0, 0.5) * np.ones((1, 2))
    verdict = "not identified: dense is best in 25 % of the draws, so whether to be sparse is open"
    assert verdict in optimum_sentence(made_curve(star, verdict), 0)


def test_draws_at_the_largest_sparsity_are_said_even_where_they_are_few():
    star = np.where(np.arange(1000)[:, None] % 25 == 0, 31 / 32, 0.8) * np.ones((1, 2))
    sentence = optimum_sentence(made_curve(star), 1)
    assert "4 % of the draws lie at the largest sparsity trained, 31/32, of which this budget" in sentence
    assert "lie at" not in optimum_sentence(made_curve(draws(0.5, 0.6)), 1)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (0.5, 0.8, "It is higher at 10¹² than at 10¹¹ FLOPs in over 99 % of the draws."),
        (0.8, 0.5, "It is lower"),
        (0.7, 0.7, "is open"),
    ],
)
def test_the_trend_is_a_share_of_the_draws(first, last, words):
    assert words in trend_sentence(made_curve(draws(first, last)))


def test_a_trend_that_turns_between_is_said():
    star = np.column_stack([draws(0.6, 0.5), draws(0.9, 0.9)[:, :1]])
    found = replace(made_curve(star), compute_flops=np.array([1e11, 3e11, 1e12]))
    assert "though its median does not go one way at every step" in trend_sentence(found)


def test_draws_that_are_tied_neither_rise_nor_fall():
    star = np.full((100, 2), 31 / 32)
    assert "at both ends, in over 99 %" in trend_sentence(made_curve(star))


def test_the_headline_changes_with_the_draws():
    one, other = headline([made_curve(draws(0.5, 0.8))]), headline([made_curve(draws(0.5, 0.85))])
    assert "**English text:** at 10¹² FLOPs, the best sparsity is 0.80" in one
    assert "the best sparsity is 0.85" in other


def test_the_headline_is_at_the_largest_budget_that_reaches_the_largest_sparsity():
    star = np.where(np.arange(1000)[:, None] % 4 == 0, 0.9, 31 / 32) * np.ones((1, 2))
    found = replace(
        made_curve(star, "not identified: edge"), sparsity_run=(31 / 32, 15 / 16), sizes_run=(3, 1)
    )
    assert found.headline_index == 0 and "**English text:** at 10¹¹ FLOPs" in headline([found])
    last = optimum_sentence(found, 1)
    assert "At this budget nothing sparser than 15/16 was run" in last and "one size was run" in last
    assert "nothing sparser" not in optimum_sentence(found, 0)


def test_the_answer_table_has_a_row_a_budget():
    text = answers.answer_table(made_curve(draws(0.5, 0.8)))
    assert text.count("<tr>") == 1 + 2 and "English text" in text
    assert "300 k" in text and "50 k" in text and "2 M" in text


def test_a_slider_holds_every_budget_that_was_run_and_a_decade_beyond():
    budgets = slider_budgets([3e10, 1e11, 3e11])
    assert {3e10, 1e11, 3e11} <= set(budgets) and np.isclose(budgets[-1], 3e12)
    ratios = np.array(budgets[1:]) / budgets[:-1]
    assert (ratios > 1).all() and ratios[: budgets.index(3e11)].max() < 1.6
    assert len(budgets) < 20


def test_a_dense_model_that_still_improves_with_size_is_said_to(record_store, monkeypatch):
    table = load_table(record_store)
    dense = (table["sparsity"] == 0) & (table["status"] == "done")
    table.loc[dense, "loss_nats"] = 3 - table.loc[dense, "width"] / 100
    monkeypatch.setattr(answers, "run_table", lambda: table)
    assert "is the largest that was tried (width 48)" in answers.dense_open("packages", 3e11)
    table.loc[dense, "loss_nats"] = 3 + (table.loc[dense, "width"] / 24 - 1) ** 2
    assert answers.dense_open("packages", 3e11) == ""


def test_a_lowest_point_without_a_law_that_the_posterior_excludes_is_said(monkeypatch):
    for centre, says in ((0.99, "It lies below"), (0.90, "It lies above"), (0.965, "")):
        star = np.full((500, 2), centre) + np.linspace(-0.009, 0.009, 500)[:, None]
        curve = replace(made_curve(star), compute_flops=np.array([3e11, 1e12]))
        monkeypatch.setattr(answers, "answer", lambda text, curve=curve: curve)
        said = answers.without_a_law("english")
        assert (says in said) if says else ("It lies" not in said)
        assert f"at 10¹² FLOPs (posterior {centre:.3f})" in said
