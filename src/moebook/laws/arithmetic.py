"""What the laws' formulas need beside arithmetic operators, for every kind of number that they run on."""

from __future__ import annotations

from typing import Any

import numpy as np

LN_10 = float(np.log(10.0))
LN_2 = float(np.log(2.0))


def log(x: Any) -> Any:
    """Natural logarithm of numbers and numpy arrays, real or complex, PyTensor variables, mpmath numbers."""
    context = getattr(x, "context", None)  # what an mpmath number computes in
    return np.log(x) if context is None else context.log(x)


def exp(x: Any) -> Any:
    """e to the power x, of the same."""
    context = getattr(x, "context", None)
    return np.exp(x) if context is None else context.exp(x)


def exp10(x: Any) -> Any:
    """10 to the power x, of the same; PyTensor takes the 10 of `10.0**x`, and its logarithm, for float32."""
    return exp(LN_10 * x)


def log10(x: Any) -> Any:
    """Logarithm to base ten, of the same."""
    return log(x) / LN_10


def log2(x: Any) -> Any:
    """Logarithm to base two, of the same."""
    return log(x) / LN_2


def saturated(quantity: Any, start: Any, limit: Any) -> Any:
    """x^ with 1 / x^ = 1 / (x + (1 / start - 1 / limit)^-1) + 1 / limit (Clark et al. 2022, Eq. 9).

    Rises with x from `start` at x = 0, like x + constant in between, to `limit` far above it;
    0 < start < limit. Clark and those after him take x = E - 1, so that a dense model has start.
    """
    return 1 / (1 / (quantity + 1 / (1 / start - 1 / limit)) + 1 / limit)
