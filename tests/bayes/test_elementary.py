"""exp, log and log1p are those of the library to the last bits, and are run on several rows at once."""

import math

import numba
import numpy as np
import pytest

from moebook.bayes import elementary
from moebook.bayes.elementary import FAST_MATH


def over(function):
    """The function over an array, compiled with the options of a density: they must not reach inside."""

    @numba.njit(fastmath=FAST_MATH, error_model="numpy")
    def run(x, out):
        for i in range(x.shape[0]):
            out[i] = function(x[i])

    def call(x):
        out = np.empty_like(x)
        run(x, out)
        return out

    return call, run


def units_apart(found, true):
    """Greatest distance in units of the last place; these must be normal numbers, since a library that was
    loaded before may have had the others flushed to zero."""
    return (np.abs(found - true) / np.spacing(np.abs(true))).max()


def test_exp_is_exact_to_a_unit_of_the_last_place():
    call, _ = over(elementary.exp)
    x = np.concatenate([np.linspace(-670, 709, 1_000_001), np.linspace(-1, 1, 100_001)])
    assert units_apart(call(x), np.exp(x)) <= 1
    assert call(np.array([0.0]))[0] == 1.0


def test_log_is_exact_to_a_unit_of_the_last_place():
    call, _ = over(elementary.log)
    x = np.concatenate([np.exp(np.linspace(-700, 709, 1_000_000)), np.linspace(0.5, 2, 100_000)])
    x = x[x != 1]
    assert units_apart(call(x), np.log(x)) <= 1
    assert call(np.array([1.0]))[0] == 0.0


def test_log1p_keeps_small_numbers():
    call, _ = over(elementary.log1p)
    x = np.concatenate([-1 + np.logspace(-15, -0.01, 10_000), np.logspace(-290, 300, 100_000),
                        -np.logspace(-290, -0.01, 100_000)])  # fmt: skip
    assert units_apart(call(x), np.log1p(x)) <= 3


@pytest.mark.parametrize(
    ("function", "x", "true"),
    [
        (elementary.exp, [710, math.inf, -709, -math.inf, math.nan], [math.inf, math.inf, 0, 0, math.nan]),
        (elementary.log, [math.inf, 0, -1, -math.inf, math.nan], [math.inf] + 4 * [math.nan]),
        (elementary.log1p, [-1.0, -2.0, math.nan], 3 * [math.nan]),
    ],
)
def test_ends_are_infinite_or_no_number_so_that_a_proposal_is_rejected(function, x, true):
    found = over(function)[0](np.array(x, float))
    np.testing.assert_array_equal(found, np.array(true, float))


def test_several_rows_are_computed_at_once():
    call, run = over(elementary.exp)
    call(np.zeros(8))
    assert "x double>" in run.inspect_llvm(run.signatures[0])
