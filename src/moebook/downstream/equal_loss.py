"""Does a score depend on sparsity, where the loss is the same? The eighth finding of Abnar et al. 2025.

They find that a task's error is a function of the loss alone, whatever the sparsity, but for reading
comprehension, where denser models are ahead. Here a score is a smooth function of the loss plus a term in
doublings of E/K; the term's posterior is the answer. Branches of one trunk share most of their training, so
that what they have in common beyond the loss counts once.

Losses that dense models do not reach have no equal among them, so only runs within their reach count.

Items are a sample as well as runs are. Where results by item are at hand, each item (or what is drawn as one,
such as all pairs of a paradigm) has an effect of its own; what these spread beyond the noise of single
results is added to the term's variance, as in errors that are clustered in two ways (Cameron, Gelbach and
Miller 2011, doi 10.1198/jbes.2010.07136).

At equal loss a sparse model is narrower and has been trained for less than a dense one. So what looks like an
effect of sparsity may be one of these: `beside` asks again among runs of one budget, or of one width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moebook.bayes.doubts import budgets
from moebook.downstream.regression import Coefficient, regress
from moebook.errors import InputError

if TYPE_CHECKING:
    import pandas

#: The score is a polynomial of this degree in the loss.
DEGREE = 3
#: What else may be held, and its column: nothing, the budget, or the width.
BESIDE = {"": "", "budget": "compute_flops", "width": "width"}
#: Runs of one of these are branches of one trunk.
TRUNK = ("width", "sparsity", "seed", "batch_tokens", "learning_rate", "granularity", "shared_experts")


@dataclass(frozen=True)
class Effect:
    """What sparsity does to a score at equal loss.

    Attributes:
        score: the column.
        doubling: posterior of what one doubling of E/K adds, in the score's unit.
        by_loss: posterior of what the score gains from the largest loss to the smallest, in the dense model.
        runs, trunks: how many there were.
        loss_nats: the losses' ends.
        sparsity: the ends of their sparsities.
        noise: standard deviation of a run's score around what is expected, in the score's unit.
        curve: coefficients of the polynomial in (loss - centre) / scale, lowest first; centre, scale: its
            middle and half its range, in nats. Of no use where something is held beside the loss.
    """

    score: str
    doubling: Coefficient
    by_loss: Coefficient
    runs: int
    trunks: int
    loss_nats: tuple[float, float]
    sparsity: tuple[float, float]
    noise: float
    curve: tuple[float, ...]
    centre: float
    scale: float

    def quantile(self, share: float) -> float:
        return self.doubling.quantile(share)

    def below(self, value: float) -> float:
        return self.doubling.below(value)

    def expected(self, loss_nats: np.ndarray, sparsity: float) -> np.ndarray:
        """Posterior mean of the score at these losses."""
        z = (np.asarray(loss_nats) - self.centre) / self.scale
        return np.polynomial.polynomial.polyval(z, self.curve) + self.doubling.mean * doublings(sparsity)


def doublings(sparsity: float | np.ndarray) -> np.ndarray:
    """log2(E/K): 0 of a dense model, 5 at 31/32."""
    return -np.log2(1 - np.asarray(sparsity, dtype=float))


def at_equal_loss(
    runs: pandas.DataFrame,
    score: str,
    beside: str = "",
    items: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> Effect:
    """The effect of sparsity on a score at equal loss, from runs of one text.

    runs: columns loss_nats, sparsity and the score's; those of TRUNK that are there tell branches of one
    trunk, and `compute_flops` or `width` is needed to hold it. beside: a name in BESIDE. items [runs, items]:
    results of which the score is the mean; without them the items count as all there are. units [items]:
    items of one value are drawn as one; by default each is on its own.

    Raises InputError naming the column that is missing or empty, or where the runs cannot tell.
    """
    if beside not in BESIDE:
        raise InputError(f"beside: {beside!r}: must be one of {', '.join(filter(None, BESIDE))}")
    for name in filter(None, (score, "loss_nats", "sparsity", BESIDE[beside])):
        if name not in runs:
            raise InputError(f"runs: {name}: no such column; there are {', '.join(map(str, runs.columns))}")
    known = (runs[score].notna() & runs["loss_nats"].notna()).to_numpy()
    used = known & within_reach(runs, known)
    runs, items = runs[used], None if items is None else items[used]
    if runs.empty:
        raise InputError(f"runs: {score}: is empty: no run has this score")
    loss, y = runs["loss_nats"].to_numpy(float), runs[score].to_numpy(float)
    sparsity = runs["sparsity"].to_numpy(float)
    if np.ptp(sparsity) == 0:
        if len(runs) == 1:
            raise InputError(
                f"runs: sparsity: {sparsity[0]:g}: a single run is this dense: two or more, of different "
                "losses, are needed to compare with"
            )
        raise InputError(
            f"runs: sparsity: {sparsity[0]:g}: the same in all {len(runs)} runs whose losses models of the "
            "least sparsity reach"
        )
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        raise InputError(f"runs: {score}: {y[0]:g}: the same in every run")
    centre, scale = (loss.max() + loss.min()) / 2, max(float(np.ptp(loss)) / 2, 1e-12)
    z = (loss - centre) / scale
    # z falls from 1 to -1 as the loss falls from its largest value to its smallest: written so that the
    # second coefficient is the gain over the whole range.
    powers = [z**k for k in range(DEGREE + 1)]
    basis = [powers[0], -z / 2, *(powers[k] - (z if k % 2 else 0) for k in range(2, DEGREE + 1))]
    x = np.stack([*basis, doublings(sparsity), *_held(runs, beside)], axis=1)
    groups = _trunks(runs)
    found = regress(x, y, groups)
    by_loss, doubling = found.coefficient(1), found.coefficient(DEGREE + 1)
    if items is not None:
        units = np.arange(items.shape[1]) if units is None else units
        by_loss = by_loss.widened(_spread_of_items(x, items, units, 1))
        doubling = doubling.widened(_spread_of_items(x, items, units, DEGREE + 1))
    mean = found.mean
    noise = float(np.sqrt(np.sum((y - x @ mean) ** 2) / found.freedom))
    curve = [mean[0], -mean[1] / 2, *mean[2 : DEGREE + 1]]
    curve[1] -= sum(mean[k] for k in range(3, DEGREE + 1, 2))
    return Effect(
        score, doubling, by_loss, len(runs), len(set(groups)), (float(loss.min()), float(loss.max())),
        (float(sparsity.min()), float(sparsity.max())), noise, tuple(float(b) for b in curve), centre, scale,
    )  # fmt: skip


def _held(runs: pandas.DataFrame, beside: str) -> list[np.ndarray]:
    """A column [rows] for each budget or width but the first, 1 in its rows; none where nothing is held."""
    if not beside:
        return []
    values = runs[BESIDE[beside]].to_numpy(float)
    if beside == "budget":
        values = budgets(values)  # computation scatters around what was meant
    return [(values == value).astype(float) for value in np.unique(values)[1:]]


def _trunks(runs: pandas.DataFrame) -> list[str]:
    """The trunk of each run; without width and seed a branch cannot be told from another run, so that each
    counts on its own."""
    if not {"width", "seed"} <= set(runs):
        return [str(i) for i in range(len(runs))]
    return [repr(row) for row in runs[[n for n in TRUNK if n in runs]].itertuples(index=False)]


def within_reach(runs: pandas.DataFrame, known: np.ndarray) -> np.ndarray:
    """Whether the loss of each run lies between the ends of those of the least sparse models [rows].

    known [rows]: which runs count.
    """
    if not known.any():
        return known
    sparsity, loss = runs["sparsity"].to_numpy(float), runs["loss_nats"].to_numpy(float)
    least = loss[known & (sparsity == sparsity[known].min())]
    return (loss >= least.min()) & (loss <= least.max())


def _spread_of_items(x: np.ndarray, items: np.ndarray, units: np.ndarray, column: int) -> float:
    """What the choice of items adds to the variance of a coefficient that is a mean over them.

    items [rows, items]; units [items]. Each unit has a coefficient of its own, by least squares; the variance
    of their sum holds the noise of single results too, which the runs' own deviations count already.
    """
    inverse = np.linalg.pinv(x)
    _, of_item = np.unique(units, return_inverse=True)
    count = int(of_item.max()) + 1
    if count < 2:
        return 0.0
    per_unit = np.zeros((len(items), count))
    np.add.at(per_unit.T, of_item, items.T / items.shape[1])  # a score is the sum over units
    own = inverse[column] @ per_unit
    left = per_unit - x @ (inverse @ per_unit)
    share = np.bincount(of_item) / items.shape[1]
    between = np.sum((own - share * own.sum()) ** 2) * count / (count - 1)
    noise = float((inverse[column] ** 2) @ (left**2).sum(axis=1))
    return max(0.0, float(between) - noise)
