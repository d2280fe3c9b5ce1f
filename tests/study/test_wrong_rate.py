"""What another rate would have made of a loss, by the rule, and what that does to the optimum in the book."""

import numpy as np
import pandas as pd
import pytest

from moebook.study.tuning import RateRule
from moebook.study.wrong_rate import best_rates, changes_nats

RULE = RateRule(
    rate=4e-3, at={"unsparsity": 0.25, "tokens": 1e6}, powers={"unsparsity": 0.5, "tokens": -0.25}, errors={},
    curvature_nats=0.01, curvature_growth_nats=0.002, residual_nats=0.0, runs=9, anchors=3,
)  # fmt: skip


def table(**changes):
    row = {"sparsity": 0.75, "params": 1e5, "tokens": 1e6, "batch_tokens": 512, "learning_rate": 4e-3}
    return pd.DataFrame([row | changes])


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 2.0])
def test_off_the_best_rate_the_loss_rises_by_the_parabola(factor):
    # at S = 3/4 the curvature is .01 + .002 * 2
    assert changes_nats(RULE, table(), factor) == pytest.approx([0.014 * np.log2(factor) ** 2])


def test_a_rate_that_is_too_high_already_gains_from_half_of_it():
    twice = table(learning_rate=8e-3)
    assert changes_nats(RULE, twice, 0.5) == pytest.approx([-0.014])
    assert changes_nats(RULE, twice, 2.0) == pytest.approx([0.014 * (4 - 1)])


def test_the_best_rate_is_that_of_the_run():
    # a sixteenth of the unsparsity at sixteen times the tokens: the best rate is 4e-3 / 4 / 2
    other = table(sparsity=1 - 0.25 / 16, tokens=16e6, learning_rate=4e-3 / 8)
    assert changes_nats(RULE, other, 2.0) == pytest.approx([0.01 + 0.002 * 6])


def test_the_rates_of_a_table_are_those_of_its_anchors():
    """The committed rule, asked as the anchors ask it and as the table does."""
    from pathlib import Path
    from types import SimpleNamespace

    from moebook.runs import load_table
    from moebook.study.tuning import anchors_of_study, fit_rate

    root = Path(__file__).resolve().parents[2] / "runs"
    rule = fit_rate(anchors_of_study("tune-english", root))
    runs = load_table(root, "english")
    rates = best_rates(rule, runs)
    for i in (0, 100, 250):
        row = runs.iloc[i]
        cell = SimpleNamespace(unsparsity=1 - row["sparsity"], **row[["params", "tokens", "batch_tokens"]])
        assert rates[i] == pytest.approx(rule(cell))
