"""What is believed of a number before a fit sees data: a family, a median and a spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FAMILIES = ("normal", "lognormal", "logitnormal")


@dataclass(frozen=True)
class Prior:
    """A normal distribution of x, of log x (`lognormal`) or of log x / (1 - x) (`logitnormal`).

    median: of x itself, in `unit`; spread: standard deviation of x, log x or the log odds of x;
    why: where the two numbers come from.
    """

    family: str
    median: float
    spread: float
    unit: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"prior: family: {self.family!r}: must be one of {', '.join(FAMILIES)}")
        if not self.spread > 0:
            raise ValueError(f"prior: spread: {self.spread!r}: must be positive")
        if not np.isfinite(self.free(self.median)):
            raise ValueError(f"prior: median: {self.median!r}: is no value of a {self.family} number")

    def free(self, value: Any) -> Any:
        """The coordinate on which the prior is normal, any real number, of a value."""
        if self.family == "normal":
            return value
        return np.log(value) if self.family == "lognormal" else np.log(value / (1 - value))

    def value(self, free: Any) -> Any:
        """The value at a coordinate: the inverse of `free`."""
        if self.family == "normal":
            return free
        return np.exp(free) if self.family == "lognormal" else 1 / (1 + np.exp(-free))

    def at(self, normal: Any) -> Any:
        """The value so many standard deviations from the median: draws, from standard normal numbers."""
        return self.value(self.free(self.median) + self.spread * normal)
