"""The tests of ranks: uniform ones pass, others fail, with the error rate that they promise."""

import numpy as np
import pytest
from scipy import stats

from moebook.bayes import uniformity
from moebook.errors import InputError

DRAWS = 99


def ranks_of(fits, seed, power=1.0):
    """Ranks from a distribution on (0, 1) bent by `power`."""
    u = np.random.default_rng(seed).random(fits) ** power
    return np.minimum((u * (DRAWS + 1)).astype(int), DRAWS)


def test_uniform_ranks_are_rejected_as_often_as_the_level_says():
    found = [(uniformity.chi_square_p(r, DRAWS), uniformity.ecdf_p(r, DRAWS))
             for r in (ranks_of(200, seed) for seed in range(400))]  # fmt: skip
    for p_values in np.array(found).T:
        # Binomial(400, .1): 40 +- 6; the band of four standard deviations
        assert 16 <= np.sum(p_values <= 0.1) <= 64
        assert stats.kstest(p_values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    "ranks",
    [
        ranks_of(200, 1, power=2.0),  # truths too low: a biased posterior
        np.random.default_rng(2).binomial(DRAWS, 0.5, 200),  # all in the middle: a posterior too wide
        (DRAWS * np.random.default_rng(3).beta(0.5, 0.5, 200)).round().astype(int),  # at the ends: too narrow
    ],
    ids=["skewed", "too wide", "too narrow"],
)
def test_ranks_of_a_wrong_posterior_are_rejected(ranks):
    found = uniformity.judge({"wrong": ranks, "right": ranks_of(200, 4)}, DRAWS)
    assert found["wrong"].ecdf < 0.001 and found["wrong"].chi_square < 0.001
    assert found["wrong"].corrected < 0.005
    assert found["right"].corrected > 0.05


def test_the_chi_square_by_simulation_is_the_textbook_one_for_many_fits():
    ranks = ranks_of(1000, 5, power=1.05)
    counts = np.bincount(ranks * 20 // (DRAWS + 1), minlength=20)
    assert uniformity.bins_of(1000, DRAWS) == 20
    assert uniformity.chi_square_p(ranks, DRAWS) == pytest.approx(stats.chisquare(counts).pvalue, abs=0.02)


def test_bins_hold_enough_fits_and_divide_the_ranks():
    assert [uniformity.bins_of(fits, 99) for fits in (4, 12, 30, 60, 100, 500)] == [1, 2, 5, 10, 20, 20]
    assert uniformity.bins_of(500, 100) == 1  # 101 is prime: only the ECDF can tell


def test_the_band_is_left_by_one_uniform_sample_in_twenty():
    low, high = uniformity.band(100, DRAWS)
    left = 0
    for seed in range(1000):
        z, difference = uniformity.ecdf_difference(ranks_of(100, seed), DRAWS)
        outside = bool(np.any((difference < low - 1e-12) | (difference > high + 1e-12)))
        left += outside
        if outside:  # band and p-value are one test
            assert uniformity.ecdf_p(ranks_of(100, seed), DRAWS) <= 0.055
    assert z[0] == difference[0] == low[0] == high[0] == 0
    assert z[-1] == 1 and difference[-1] == pytest.approx(0)
    assert 22 <= left <= 78  # 50 +- 7, four standard deviations


def test_ties_are_broken_at_random_so_that_atoms_stay_uniform():
    """A quantity that is 0 in two cases of three: truth and draws from the same distribution."""
    rng = np.random.default_rng(6)

    def sample(size):
        return np.where(rng.random(size) < 2 / 3, 0.0, rng.random(size))

    ranks = np.array([uniformity.rank(sample(1)[0], sample(DRAWS), rng) for _ in range(300)])
    assert min(uniformity.ecdf_p(ranks, DRAWS), uniformity.chi_square_p(ranks, DRAWS)) > 0.01
    lowest = np.array([np.sum(sample(DRAWS) < sample(1)) for _ in range(300)])  # ties always count as above
    assert uniformity.ecdf_p(lowest, DRAWS) < 0.001


def test_a_rank_counts_what_lies_below():
    rng = np.random.default_rng(0)
    draws = np.arange(10.0)
    assert [uniformity.rank(x, draws, rng) for x in (-1, 0.5, 9.5)] == [0, 1, 10]
    assert {uniformity.rank(3.0, draws, rng) for _ in range(100)} == {3, 4}
    with pytest.raises(ValueError, match="finite"):
        uniformity.rank(np.nan, draws, rng)
    with pytest.raises(ValueError, match="finite"):
        uniformity.rank(0.0, np.array([1.0, np.inf]), rng)


def test_holm_by_hand():
    assert uniformity.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert uniformity.holm([0.9, 0.8]) == [1.0, 1.0]
    assert uniformity.holm([]) == []


def test_among_many_quantities_the_family_is_rejected_as_often_as_promised():
    """Twenty right quantities, again and again: any is called wrong in at most one family of twenty."""
    called = 0
    for family in range(100):
        ranks = {str(i): ranks_of(100, [family, i]) for i in range(20)}
        called += any(found.corrected < 0.05 for found in uniformity.judge(ranks, DRAWS).values())
    assert called <= 14  # Binomial(100, .05), four standard deviations


def test_what_is_no_rank_is_refused():
    with pytest.raises(InputError, match="ranks: x: 100: must be a whole number from 0 to 99"):
        uniformity.judge({"x": np.array([3, 100])}, DRAWS)
    with pytest.raises(InputError, match="ranks: x: shape"):
        uniformity.judge({"x": np.array([])}, DRAWS)
