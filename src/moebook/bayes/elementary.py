"""What a written density calls: products of tables, and exp, log and log1p that run on several rows at once.

A library takes one number at a time. Ours reduce their argument to a short interval, where a polynomial (exp)
or the fdlibm series of log((1 + s) / (1 - s)) is exact to the last bit or the one before, without a branch or
a table. Powers of two are taken from and put into the bits of a float.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

#: Sums may be reordered, so that they run in vector registers; NaN and infinity stay what they are.
FAST_MATH = {"arcp", "contract", "nsz", "reassoc"}
#: Reordering would undo the rounding that both rest on; a caller's own options must not be taken over.
#: A call that is not written out where it stands keeps a loop from running on several rows.
_OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}

_LOG2_E = 1.4426950408889634
#: log 2 in two parts: whole multiples of the first are exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
#: 1.5 x 2^52: added to a number, its last bits are the nearest whole number.
_ROUND = 6755399441055744.0
_LARGEST, _SMALLEST = 709.0, -708.0
_TERMS = tuple(1 / math.factorial(i) for i in range(14))
_ONE, _FRACTION, _ROOT_HALF = 0x3FF0000000000000, 0x000FFFFFFFFFFFFF, 0x3FE6A09E667F3BCD
_TWO_52 = 0x4330000000000000
_SERIES = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip


@numba.njit(**_OPTIONS)
def exp(x: float) -> float:
    """e^x within one unit of the last place; infinity above 709, zero below -708."""
    shifted = x * _LOG2_E + _ROUND
    whole = shifted - _ROUND
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    t = _TERMS
    p = t[13] * r + t[12]
    p = ((p * r + t[11]) * r + t[10]) * r + t[9]
    p = ((p * r + t[8]) * r + t[7]) * r + t[6]
    p = ((p * r + t[5]) * r + t[4]) * r + t[3]
    p = ((p * r + t[2]) * r + t[1]) * r + t[0]
    power = np.int64((np.float64(shifted).view(np.int64) << 52) + np.int64(_ONE)).view(np.float64)
    found = p * power
    found = math.inf if x > _LARGEST else found
    return 0.0 if x < _SMALLEST else found


@numba.njit(**_OPTIONS)
def log(x: float) -> float:
    """log x within one unit of the last place, of any normal x; of zero, and below, not a number."""
    bits = np.float64(x).view(np.int64) + np.int64(_ONE - _ROOT_HALF)
    exponent = np.int64((bits >> 52) | np.int64(_TWO_52)).view(np.float64) - (2.0**52 + 1023)
    m = np.int64((bits & np.int64(_FRACTION)) + np.int64(_ROOT_HALF)).view(np.float64)
    f = m - 1.0
    s = f / (2.0 + f)
    z, c = s * s, _SERIES
    rest = z * (c[0] + z * (c[1] + z * (c[2] + z * (c[3] + z * (c[4] + z * (c[5] + z * c[6]))))))
    half = 0.5 * f * f
    found = exponent * _LN2_HIGH - ((half - (s * (half + rest) + exponent * _LN2_LOW)) - f)
    found = found if x >= 2.2250738585072014e-308 else math.nan
    return found if x < math.inf else x


@numba.njit(**_OPTIONS)
def log1p(x: float) -> float:
    """log(1 + x) within three units of the last place: log of the rounded sum, and what rounding it lost."""
    u = 1.0 + x
    return log(u) + (x - (u - 1.0)) / u


@numba.njit(fastmath=FAST_MATH)
def product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """matrix [n, m] times vector [m]."""
    out = np.empty(matrix.shape[0])
    for i in range(matrix.shape[0]):
        total = 0.0
        for j in range(matrix.shape[1]):
            total += matrix[i, j] * vector[j]
        out[i] = total
    return out


@numba.njit(fastmath=FAST_MATH)
def transposed_product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """matrix [n, m] transposed times vector [n], in the order of the memory."""
    out = np.zeros(matrix.shape[1])
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[j] += matrix[i, j] * vector[i]
    return out


#: What a written function finds in its globals.
NAMES: dict[str, Any] = {
    **{name: getattr(math, name) for name in ("expm1", "inf", "nan", "sqrt")},
    "exp": exp, "log": log, "log1p": log1p, "np": np,
    "product": product, "transposed_product": transposed_product,
}  # fmt: skip
