"""Powers of a column in many draws: a law evaluated at many points of many draws does little else."""

from __future__ import annotations

from typing import Any

import numpy as np


class Positive(np.ndarray):
    """An array of positive numbers x for which x**y, of an array y, is exp(y log x).

    The logarithm is of the column alone, and an exponential is faster than a power; the same but for
    rounding. As in `np.ones(3).view(Positive)`.
    """

    def __pow__(self, exponent: Any) -> np.ndarray:
        if np.ndim(exponent) == 0:  # a square may be of a number that is negative
            return np.power(self, exponent)
        return np.exp(exponent * np.log(self))
