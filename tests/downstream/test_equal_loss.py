"""An effect of sparsity that is planted is found; one of width, or of the questions that were drawn, is not
taken for it."""

import numpy as np
import pandas as pd
import pytest

from moebook.downstream import at_equal_loss, doublings
from moebook.errors import InputError

SPARSITIES = (0, 1 / 2, 3 / 4, 7 / 8, 15 / 16)


def study(rng, effect=0.0, of_width=0.0, noise=0.004):
    """Runs of three budgets, five sparsities and three widths of each, the sparser ones narrower."""
    rows = []
    for budget, level in ((1e11, 2.0), (3e11, 1.85), (1e12, 1.7)):
        for sparsity in SPARSITIES:
            k = float(doublings(sparsity))
            start = 2 - int(k) // 2
            for width in (16, 24, 32, 48, 64)[start : start + 3]:
                best = np.log2(32) - 0.15 * k
                loss = level - 0.03 * k + 0.03 * (np.log2(width) - best) ** 2 + rng.normal(0, 0.01)
                score = 0.9 - 0.3 * loss + 0.05 * loss**2 + effect * k + of_width * np.log2(width)
                rows.append(
                    {"loss_nats": loss, "sparsity": sparsity, "width": width, "seed": 0,
                     "compute_flops": budget * (1 + rng.uniform(-0.05, 0.05)),
                     "score": score + rng.normal(0, noise)}
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("effect", [-0.005, 0.0, 0.005])
@pytest.mark.parametrize("beside", ["", "budget", "width"])
def test_a_planted_effect_is_found_whatever_is_held(effect, beside):
    runs = study(np.random.default_rng(0), effect)
    found = at_equal_loss(runs, "score", beside)
    assert found.quantile(0.005) < effect < found.quantile(0.995)
    assert found.quantile(0.95) - found.quantile(0.05) < 0.01
    dense = runs.loc[runs["sparsity"] == 0, "loss_nats"]
    assert found.runs == runs["loss_nats"].between(dense.min(), dense.max()).sum() < len(runs)
    assert found.loss_nats == (dense.min(), dense.max()) and found.trunks <= 15


def test_an_effect_of_width_looks_like_one_of_sparsity_until_the_width_is_held():
    runs = study(np.random.default_rng(1), of_width=0.02)
    alone, held = at_equal_loss(runs, "score"), at_equal_loss(runs, "score", "width")
    assert alone.below(0.0) > 0.99
    assert held.quantile(0.05) < 0 < held.quantile(0.95)


def test_what_is_expected_is_the_polynomial_and_the_effect():
    runs = study(np.random.default_rng(2), effect=0.01, noise=1e-9)
    found = at_equal_loss(runs, "score")
    loss = np.linspace(*found.loss_nats, 7)
    for sparsity in (0.0, 15 / 16):
        truth = 0.9 - 0.3 * loss + 0.05 * loss**2 + 0.01 * float(doublings(sparsity))
        assert found.expected(loss, sparsity) == pytest.approx(truth, abs=1e-6)
    low, high = found.loss_nats
    gain = (0.9 - 0.3 * low + 0.05 * low**2) - (0.9 - 0.3 * high + 0.05 * high**2)
    assert found.by_loss.mean == pytest.approx(gain, abs=1e-6)


def test_questions_with_effects_of_their_own_widen_the_interval_and_noisy_answers_do_not():
    rng = np.random.default_rng(3)
    runs = study(rng)
    at = doublings(runs["sparsity"].to_numpy())
    truth = runs["score"].to_numpy()[:, None]
    coins = (rng.uniform(size=(45, 400)) < truth).astype(float)
    own = truth + 0.02 * rng.normal(size=400) * at[:, None] + rng.normal(0, 0.05, (45, 400))

    def widths(items):
        table = runs.assign(score=items.mean(axis=1))
        fits = at_equal_loss(table, "score"), at_equal_loss(table, "score", items=items)
        return [found.quantile(0.95) - found.quantile(0.05) for found in fits]

    plain, with_items = widths(coins)
    assert with_items == pytest.approx(
        plain, rel=0.1
    )  # four hundred effects tell their spread to some per cent
    plain, with_items = widths(own)
    between = 2 * 1.645 * 0.02 / np.sqrt(400)  # of the mean of 400 effects
    assert with_items == pytest.approx(np.hypot(plain, between), rel=0.1) and with_items > 1.2 * plain
    # the same, where twenty in a row share their effect: only twenty were drawn
    shared = np.repeat(rng.normal(size=20), 20)
    blocks = truth + 0.02 * shared * at[:, None] + rng.normal(0, 0.05, (45, 400))
    table, units = runs.assign(score=blocks.mean(axis=1)), np.arange(400) // 20
    one, twenty = (at_equal_loss(table, "score", items=blocks, units=u) for u in (None, units))
    widths = [found.quantile(0.95) - found.quantile(0.05) for found in (one, twenty)]
    between = 2 * 1.645 * 0.02 / np.sqrt(20)
    assert widths[1] == pytest.approx(np.hypot(plain, between), rel=0.35) and widths[1] > 1.8 * widths[0]


def test_runs_without_the_score_are_left_out():
    runs = study(np.random.default_rng(4))
    fewer = runs.assign(score=runs["score"].where(runs["width"] != 16))
    assert at_equal_loss(fewer, "score").runs < at_equal_loss(runs, "score").runs


@pytest.mark.parametrize("change, beside, says", [
    ({"score": np.nan}, "", "score: is empty"),
    ({"sparsity": 0.5}, "", "sparsity: 0.5: the same in all 45 runs"),
    ({}, "seed", "beside: 'seed': must be one of budget, width"),
    ({"width": None}, "width", "width: no such column"),
    ({"loss_nats": None}, "", "loss_nats: no such column"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(change, beside, says):
    runs = study(np.random.default_rng(5))
    dropped = [name for name, value in change.items() if value is None]
    runs = runs.assign(**change).drop(columns=dropped)
    with pytest.raises(InputError, match=says):
        at_equal_loss(runs, "score", beside)


def test_a_single_dense_run_is_nothing_to_compare_with():
    runs = study(np.random.default_rng(3))
    one = runs[(runs["sparsity"] > 0) | (runs.index == 0)]
    with pytest.raises(InputError, match="sparsity: 0: a single run is this dense"):
        at_equal_loss(one, "score")
