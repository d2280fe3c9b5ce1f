"""The kernels' exponential against numpy's in float64, compiled as the kernels are."""

import math

import numpy as np
import pytest
from numba import njit

from moebook.model.fused.arithmetic import OPTIONS, exp


@njit(**OPTIONS)
def exponentials(x, y):
    for i in range(len(x)):
        y[i] = exp(x[i])


def exp_of(x, dtype=np.float32):
    x = np.asarray(x, dtype)
    y = np.empty_like(x)
    exponentials(x, y)
    return y


def test_exp_in_fp32():
    x = np.linspace(-87, 88, 1_750_001).astype(np.float32)
    y = exp_of(x)
    truth = np.exp(x.astype(np.float64))
    assert np.abs(y / truth - 1).max() < 3e-7
    # Compared, not subtracted: training may have told this process to take tiny differences as 0.
    assert (y[1:] > y[:-1]).all(), "grows from each point of the grid to the next"
    near = np.linspace(-1e-3, 1e-3, 200_001).astype(np.float32)
    assert np.abs(exp_of(near) / np.exp(near.astype(np.float64)) - 1).max() < 1.2e-7
    assert exp_of([0.0, -0.0, 1e-45, -1e-45]).tolist() == [1, 1, 1, 1]


def test_exp_in_fp32_beyond_its_bounds():
    """Never 0, never infinite: the bound's value; not a number stays so, alone and among others."""
    lowest, highest = exp_of([-87.0, 88.0])
    assert [lowest, highest] == pytest.approx([math.exp(-87), math.exp(88)], rel=3e-7)
    assert (exp_of([-87.1, -1e4, -3e38, -math.inf]) == lowest).all()
    assert (exp_of([88.1, 1e4, 3e38, math.inf]) == highest).all()
    for length in (1, 7, 64):
        assert np.isnan(exp_of([math.nan] * length)).all()
        found = exp_of([math.nan, *range(length)])
        assert np.isnan(found[0]) and np.isfinite(found[1:]).all()


def test_exp_in_float64_has_no_bounds():
    x = np.linspace(-745, 709, 10_001)
    assert np.allclose(exp_of(x, np.float64), np.exp(x), rtol=1e-15, atol=0)
    found = exp_of([-800.0, -math.inf, 800.0, math.inf, math.nan], np.float64)
    assert found[:4].tolist() == [0, 0, math.inf, math.inf] and np.isnan(found[4])
