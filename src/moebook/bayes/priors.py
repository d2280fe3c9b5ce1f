"""Every prior of every fit, in one place.

None depends on the units of the data: sizes enter divided by their geometric means, the loss level is
centred on the geometric mean of the losses, misfit and noise are relative (they act on log loss).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moebook.errors import InputError


@dataclass(frozen=True)
class Priors:
    """Medians and spreads: standard deviations of the logarithm, of the log odds where it is a share.

    level:       log-normal; loss at the centre of the data, in units of the geometric mean loss
    data_share:  logit-normal; part of the level that more tokens would remove. Its median of a third says
                 that floor, size and data are alike until seen
    share:       logit-normal around one half, for every other share
    exponent:    log-normal; published exponents lie between .07 and .6
    ratio:       logit-normal; gamma / alpha where a law has two powers of N. The plain term is the one that
                 decays faster, as published: without an order the two swap, and nothing tells them apart
    tilt:        normal around 0; powers of 1 - S, of either sign
    noise:       log-normal; relative standard deviation of a run (seeds)
    tail:        1 / (degrees of freedom of the Student-t), uniform up to this; 0: the noise is normal
    discrepancy: log-normal; relative standard deviation of the law's misfit. In logs, and so bounded away
                 from zero: a funnel at zero cannot be sampled
    length:      log-normal; length scale of the misfit, in standard deviations of each axis
    growth:      standard deviation that the misfit gains by one standard deviation of an axis away from the
                 centre of the rows, in units of `discrepancy`; it adds up as a random walk's does
    pairs:       cosine and sine pairs in the misfit's basis
    group:       log-normal; relative standard deviation of the levels of groups of rows (recipes, corpora)
    covariate:   standard deviation of the change of log loss by one unit of a covariate, and by its square
    inflation:   log-normal; factor on the uncertainty of a forecast's mean, one a draw. No fit decides it: it
                 was learnt across public tables, by how wrong forecasts of budgets above the fitted ones were
    """

    level_spread: float = 0.3
    data_share_median: float = 1 / 3
    share_spread: float = 1.0
    exponent_median: float = 0.35
    exponent_spread: float = 0.5
    ratio_median: float = 0.5
    tilt_spread: float = 0.3
    noise_median: float = 0.01
    noise_spread: float = 1.0
    tail_limit: float = 0.0
    discrepancy_median: float = 0.02
    discrepancy_spread: float = 1.0
    length_median: float = 1.5
    length_spread: float = 0.5
    growth: float = 0.33
    pairs: int = 24
    group_median: float = 0.05
    group_spread: float = 1.0
    covariate_spread: float = 0.05
    inflation_median: float = 1.2
    inflation_spread: float = 0.25

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least = 0 if name in ("tail_limit", "growth", "inflation_spread") else np.finfo(float).tiny
            if not number or not np.isfinite(value) or value < least:
                raise InputError(f"priors: {name}: {value!r}: must be a positive number")
        if self.pairs != int(self.pairs) or self.pairs < 4:
            raise InputError(f"priors: pairs: {self.pairs}: must be a whole number of at least 4")

    @property
    def robust(self) -> bool:
        """Whether the noise is a Student-t, which bears outliers (and costs several times the time)."""
        return self.tail_limit > 0
