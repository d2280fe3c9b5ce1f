"""Are ranks uniform? Chi-square on bins, and the ECDF with a simultaneous band.

Simulation-based calibration (Talts et al. 2018, arXiv 1804.06788): draw a truth from the prior, data from the
truth, and `draws` draws from the posterior of these data. The rank of the truth among the draws, 0 .. draws,
is uniform if the posterior is the right one. The band is that of Sailynoja, Buerkner and Vehtari 2022
(Statistics and Computing 32:32): the ECDF of n uniform ranks leaves it anywhere with probability `level`.
Both p-values are by simulation of uniform ranks, so that they hold for few fits and for discrete ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from moebook.errors import InputError

SIMULATIONS = 20_000
MOST_BINS = 20
EXPECTED_IN_BIN = 5  # fewer make the chi-square statistic lumpy


def rank(truth: float, draws: np.ndarray, generator: np.random.Generator) -> int:
    """How many of the draws [draws] lie below the truth; ties are broken at random.

    Draws equal to the truth count as below with every number of them equally likely, which keeps the rank
    uniform where a quantity has an atom, such as an optimum at the edge of its grid.
    """
    if not (np.isfinite(truth) and np.isfinite(draws).all()):
        raise ValueError("a rank needs finite numbers")
    ties = int(np.sum(draws == truth))
    return int(np.sum(draws < truth)) + int(generator.integers(0, ties + 1))


@dataclass(frozen=True)
class Uniformity:
    """p-values of one quantity's ranks, alone and corrected for all the tests made (Holm)."""

    chi_square: float
    ecdf: float
    chi_square_corrected: float
    ecdf_corrected: float

    @property
    def corrected(self) -> float:
        """The smaller of the two corrected p-values: the one that a verdict goes by."""
        return min(self.chi_square_corrected, self.ecdf_corrected)


def judge(ranks: Mapping[str, np.ndarray], draws: int) -> dict[str, Uniformity]:
    """The tests of every quantity: {name: ranks [fits], each 0 .. draws}."""
    alone = {
        f"{test} {name}": p_value(checked(name, values, draws), draws)
        for name, values in ranks.items()
        for test, p_value in (("chi_square", chi_square_p), ("ecdf", ecdf_p))
    }
    corrected = dict(zip(alone, holm(alone.values()), strict=True))
    return {
        name: Uniformity(
            *(p[f"{test} {name}"] for p in (alone, corrected) for test in ("chi_square", "ecdf"))
        )
        for name in ranks
    }


def checked(name: str, ranks: np.ndarray, draws: int) -> np.ndarray:
    """The ranks as whole numbers in 0 .. draws, or InputError."""
    values = np.asarray(ranks)
    wrong = values[(values != np.round(values)) | (values < 0) | (values > draws)]
    if values.ndim != 1 or not len(values):
        raise InputError(f"ranks: {name}: shape {values.shape}: must be a list of at least one rank")
    if len(wrong):
        raise InputError(f"ranks: {name}: {wrong[0]}: must be a whole number from 0 to {draws}")
    return values.astype(int)


def chi_square_p(ranks: np.ndarray, draws: int) -> float:
    """p-value of Pearson's statistic of the ranks [fits] in equal bins."""
    null = _null(len(ranks), draws)
    return _share(null.chi_square >= _chi_square(_counts(ranks, draws), null.bins))


def ecdf_p(ranks: np.ndarray, draws: int) -> float:
    """p-value of the place where the ECDF of the ranks [fits] is the least likely."""
    null = _null(len(ranks), draws)
    return _share(null.least_likely <= _least_likely(_counts(ranks, draws), null.pointwise))


def ecdf_difference(ranks: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """(z, ECDF(z) - z), each [draws + 2]: the ends 0 and 1 included; z = share of the ranks' range."""
    below = np.concatenate([[0], np.cumsum(_counts(ranks, draws))]) / len(ranks)
    z = np.linspace(0, 1, draws + 2)
    return z, below - z


def band(fits: int, draws: int, level: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of ECDF(z) - z at the z of `ecdf_difference`, left anywhere with probability `level`."""
    tail = np.quantile(_null(fits, draws).least_likely, level)
    z = np.linspace(0, 1, draws + 2)
    low, high = (stats.binom.ppf(p, fits, z[1:-1]) / fits - z[1:-1] for p in (tail / 2, 1 - tail / 2))
    return np.pad(low, 1), np.pad(high, 1)


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's correction (1979): the chance that any of these is so small, whatever their dependence."""
    p = np.array(list(p_values), dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def bins_of(fits: int, draws: int) -> int:
    """The most equal bins of the draws + 1 ranks, at most 20, with at least five fits expected in each."""
    divisors = [b for b in range(1, MOST_BINS + 1) if (draws + 1) % b == 0]
    return max((b for b in divisors if fits / b >= EXPECTED_IN_BIN), default=1)


@dataclass(frozen=True)
class _Null:
    """Statistics of simulated uniform ranks [simulations], and what is needed to compute them."""

    bins: int
    pointwise: np.ndarray
    chi_square: np.ndarray
    least_likely: np.ndarray


@lru_cache(maxsize=16)
def _null(fits: int, draws: int) -> _Null:
    """Uniform ranks of so many fits, simulated; the seed is fixed, so that a p-value is a number."""
    counts = np.random.default_rng(1).multinomial(fits, np.full(draws + 1, 1 / (draws + 1)), SIMULATIONS)
    z = np.arange(1, draws + 1) / (draws + 1)
    below = np.arange(fits + 1)[:, None]
    # Two-sided tail of so many ranks below each z; symmetric, as in the definition of the band.
    tails = np.minimum(stats.binom.cdf(below, fits, z), stats.binom.sf(below - 1, fits, z))
    pointwise = np.minimum(2 * tails, 1.0)
    bins = bins_of(fits, draws)
    return _Null(bins, pointwise, _chi_square(counts, bins), _least_likely(counts, pointwise))


def _counts(ranks: np.ndarray, draws: int) -> np.ndarray:
    """How many fits have each rank [draws + 1]."""
    return np.bincount(np.asarray(ranks, dtype=int), minlength=draws + 1)


def _chi_square(counts: np.ndarray, bins: int) -> np.ndarray:
    """Pearson's statistic of counts [..., draws + 1] in so many bins."""
    binned = counts.reshape(*counts.shape[:-1], bins, -1).sum(axis=-1)
    expected = binned.sum(axis=-1, keepdims=True) / bins
    return ((binned - expected) ** 2 / expected).sum(axis=-1)


def _least_likely(counts: np.ndarray, pointwise: np.ndarray) -> np.ndarray:
    """Smallest pointwise tail along the ECDF of counts [..., draws + 1]; pointwise [fits + 1, draws]."""
    below = counts.cumsum(axis=-1)[..., :-1]
    return pointwise[below, np.arange(pointwise.shape[1])].min(axis=-1)


def _share(more_extreme: np.ndarray) -> float:
    """p-value: the observed sample counts as one of the simulated, so that it is never zero."""
    return float((1 + np.sum(more_extreme)) / (1 + len(more_extreme)))
