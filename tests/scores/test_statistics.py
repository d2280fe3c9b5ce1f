"""Scores and standard errors against what is known of them."""

import math

import numpy as np
import pytest

from moebook.scores.scored import bits, choices, share_with_stderr


def test_one_stratum_is_the_binomial():
    right = np.array([True] * 30 + [False] * 70)
    share, error = share_with_stderr(right, np.zeros(100, dtype=int))
    assert share == 0.3 and error == pytest.approx(math.sqrt(0.3 * 0.7 / 99))


def test_the_standard_error_covers_with_unequal_strata_and_is_smaller_than_the_binomial():
    draw = np.random.default_rng(0)
    truth = np.array([0.05, 0.5, 0.95, 0.9])
    strata = np.repeat(np.arange(4), 40)
    covered, errors = 0, []
    for _ in range(1000):
        share, error = share_with_stderr(draw.random(160) < truth[strata], strata)
        covered += abs(share - truth.mean()) < 1.96 * error
        errors.append(error)
    spread = math.sqrt((truth * (1 - truth)).mean() / 160)
    assert 0.92 < covered / 1000 < 0.97
    assert np.mean(errors) == pytest.approx(spread, rel=0.05)
    assert spread < 0.8 * math.sqrt(truth.mean() * (1 - truth.mean()) / 160)


def test_a_stratum_of_one_item_makes_all_one_stratum_and_one_item_has_no_error():
    right = np.array([True, False, True])
    assert share_with_stderr(right, np.array([0, 0, 1])) == share_with_stderr(right, np.zeros(3))
    assert share_with_stderr(right[:1], np.zeros(1)) == (1.0, None)


def test_items_that_belong_together_are_drawn_together():
    """Four copies of each item are no more evidence than one."""
    right = np.random.default_rng(1).random(200) < 0.4
    margins = np.repeat(np.where(right, 1.0, -1.0), 4)
    parts, units = np.tile(["0", "1", "4", "8"], 200), np.repeat(np.arange(200), 4)
    found = choices(margins, parts, parts, 1 / 3, "pool", units)
    alone = math.sqrt(right.mean() * (1 - right.mean()) / 199)
    assert found.score == right.mean() and found.standard_error == pytest.approx(alone)
    assert all(part.standard_error == pytest.approx(alone) for part in found.parts.values())


def test_the_score_is_that_of_the_items_as_they_are_stored():
    margins = np.array([3.0, -2.0, 1e-7, 1e-30, 0.0, 1e9])
    found = choices(margins, np.zeros(6), np.full(6, "a"), 0.5, "pool")
    assert found.items.dtype == np.float16 and np.isfinite(found.items).all()
    assert found.score == (found.items > 0).mean() == 4 / 6  # however small; a tie is wrong
    assert found.items[:5] == pytest.approx(margins[:5], abs=1 / 16)
    nats = np.random.default_rng(0).normal(200, 20, 64)
    lengths = np.full(64, 128)
    measured = bits(nats, lengths, np.arange(64) // 4, "pool")
    mean_nats = measured.items.sum(dtype=float) / lengths.sum()
    assert measured.score == pytest.approx(mean_nats / math.log(2), rel=1e-12)
    assert bits(nats, lengths, np.zeros(64), "pool").standard_error is None


def test_what_is_not_finite_is_no_score():
    with pytest.raises(FloatingPointError, match="1 of 2"):
        choices(np.array([1.0, math.nan]), np.zeros(2), np.zeros(2), 0.5, "pool")
    with pytest.raises(FloatingPointError, match="1 of 2"):
        bits(np.array([1.0, math.inf]), np.array([1, 1]), np.zeros(2), "pool")
