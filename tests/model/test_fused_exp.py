"""The kernels' exponential against numpy's in float64, compiled as the kernels are."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit

import moebook
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


PROGRAM = """
import json, numpy
from moebook.model.fused.expert_kernels import swiglu_forward

a_RF = numpy.zeros((1, 1), numpy.float32)
swiglu_forward(numpy.array([[1, 2]], numpy.float32), a_RF)
print(json.dumps([a_RF.item(), sum(swiglu_forward.stats.cache_hits.values())]))
"""


def test_a_new_process_sees_an_edit_of_the_exponential(tmp_path):
    """And one that meets no edit takes what was compiled before. [2 silu(1), kernels taken from the cache]"""
    files = ("__init__", "errors", "files", "model/fused/arithmetic", "model/fused/expert_kernels")
    for name in files:
        copy = tmp_path / "moebook" / f"{name}.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((Path(moebook.__file__).parent / f"{name}.py").read_bytes())

    def found():
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        words = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            words, env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    truth = 2 / (1 + math.exp(-1))
    assert found() == [pytest.approx(truth, rel=1e-6), 0]
    assert found() == [pytest.approx(truth, rel=1e-6), 1]
    source = tmp_path / "moebook/model/fused/arithmetic.py"
    text = source.read_text()
    result = "return (p * r * r + r + one) * _power_of_two(np.int32(n))"
    assert text.count(result) == 1
    source.write_text(text.replace(result, "return one"))
    assert found() == [1.0, 0], "2 / (1 + 1)"
    source.write_text(text)
    assert found() == [pytest.approx(truth, rel=1e-6), 1]
