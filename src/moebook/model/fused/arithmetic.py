"""What the kernels share: how numba compiles them, and an exponential that vector units can do."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from moebook.files import sha256_hex

# Sums may be regrouped and products fused, which vector units need; NaN and infinity keep their meaning.
OPTIONS = {"error_model": "numpy", "fastmath": {"contract", "arcp", "nsz", "reassoc"}}

_HERE = sha256_hex(Path(__file__).read_bytes())[:8]


def compiled(function):
    """The function compiled by numba, which keeps the result on disk where it finds a place for it.

    Numba takes what it kept under the function's name as long as the function's own file is the same. A
    kernel is made of this file too, and so it is kept under a name that changes with this file.
    """
    function.__qualname__ += f"_{_HERE}"
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return njit(**OPTIONS)(function)


@intrinsic
def _power_of_two(context, exponent):
    """2 ** exponent in fp32 for an int32 in [-126, 127], made from its bits."""

    def generate(_, builder, __, arguments):
        biased = builder.add(arguments[0], ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.int32), generate


def exp(x):
    """exp(x); in fp32 to 2e-7 of its value between -87 and 88, and its value there beyond."""
    return math.exp(x)


@overload(exp, inline="always")
def _exp_of_type(x):
    if x == types.float64:
        return lambda x: math.exp(x)
    log2_e, ln2 = np.float32(math.log2(math.e)), math.log(2)
    ln2_high = np.float32(round(ln2 * 512) / 512)  # few bits: its product with a small integer is exact
    ln2_low = np.float32(ln2 - float(ln2_high))
    c2, c3, c4, c5, c6, c7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
    one, low, high = np.float32(1), np.float32(-87), np.float32(88)

    def fp32(x):
        x = min(max(x, low), high)
        n = np.rint(x * log2_e)
        r = (x - n * ln2_high) - n * ln2_low  # |r| <= ln(2) / 2
        p = ((((c7 * r + c6) * r + c5) * r + c4) * r + c3) * r + c2  # Taylor's series
        return (p * r * r + r + one) * _power_of_two(np.int32(n))

    return fp32
