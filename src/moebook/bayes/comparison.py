"""Which posterior predicts better, on the same rows: PSIS-LOO, stacking, leave-one-budget-out.

Everything is computed from stored draws. The density is that of log loss, with the law's misfit and the
run's noise, so that differences between posteriors are those of the loss too.

elpd = sum_i log p(y_i | y without i), by Pareto-smoothed importance sampling (Vehtari, Gelman and Gabry 2017,
Vehtari et al. 2024); a Pareto k above .7 says that its row weighs too much for the estimate to be trusted.
A budget is left out in the same way, all its rows at once. Stacking weights maximise the score of the mixture
(Yao et al. 2018).

With normal noise the weights of the misfit are integrated out: the rows of a draw are normal with covariance
sigma^2 I + tau^2 Phi Phi^T, so that p(group | the other rows, draw) is known, and a draw is weighted by one
over that. Only the law's totals and the scales are left to importance sampling, which is why it can be
trusted more often, for whole budgets too. With Student-t noise, or noise that changes
with compute, the weights belong to the draw. The basis
stays the one that all rows gave.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import arviz as az
import numpy as np
import xarray as xr
from scipy import special, stats

from moebook.bayes.columns import LOSS
from moebook.bayes.doubts import budgets
from moebook.bayes.gates import require_passed
from moebook.bayes.posterior import Posterior
from moebook.errors import InputError

if TYPE_CHECKING:
    import pandas

TRUSTED_K = 0.7


@dataclass(frozen=True)
class Loo:
    """Leave-one-out of one posterior; `data` is ArviZ's own result."""

    data: az.ELPDData

    @property
    def elpd(self) -> float:
        """Sum over rows of the log density of each given the others."""
        return float(self.data.elpd_loo)

    @property
    def error(self) -> float:
        """Its standard error over rows."""
        return float(self.data.se)

    @property
    def effective(self) -> float:
        """Effective number of parameters."""
        return float(self.data.p_loo)

    @property
    def pointwise(self) -> np.ndarray:
        """The terms of the sum [rows]."""
        return self.data.loo_i.values

    @property
    def pareto_k(self) -> np.ndarray:
        """How heavy the tail of each row's importance weights is [rows]."""
        return self.data.pareto_k.values

    @property
    def doubtful(self) -> np.ndarray:
        """Which rows weigh too much."""
        return np.flatnonzero(~(self.pareto_k <= TRUSTED_K))


@dataclass(frozen=True)
class Fold:
    """A group of rows left out together: log density of the group given the others, and its Pareto k."""

    elpd: float
    pareto_k: float

    @property
    def trusted(self) -> bool:
        """Whether importance weights can stand in for a fit without the group."""
        return bool(self.pareto_k <= TRUSTED_K)


@dataclass(frozen=True)
class Comparison:
    """Posteriors side by side, best first by elpd.

    loo: {name: Loo}; difference, difference_error: of elpd from the best {name: value}, and the standard
    error of that difference over rows; weights: stacking {name: weight}, which sum to one;
    budgets: {name: [Fold a budget]}, no budgets where the compute of the rows is not known;
    budget_flops, budget_rows: geometric mean of the compute, and number of runs, of each;
    rows: what each row is, in words.
    """

    loo: dict[str, Loo]
    difference: dict[str, float]
    difference_error: dict[str, float]
    weights: dict[str, float]
    budgets: dict[str, list[Fold]]
    budget_flops: list[float]
    budget_rows: list[int]
    rows: list[str]


def compare(posteriors: Mapping[str, Posterior]) -> Comparison:
    """Compare posteriors of the same rows by how well each predicts a row that it has not seen.

    Raises InputError where rows differ, naming the first that only one has, and FailedPosterior where a
    posterior failed a gate.
    """
    if len(posteriors) < 2:
        raise InputError("compare: needs at least two posteriors")
    for posterior in posteriors.values():
        require_passed(posterior.summary)
    orders = align(posteriors)
    loo = {name: leave_one_out(row_density(p)[:, :, orders[name]], p) for name, p in posteriors.items()}
    ranked = rank(loo)
    (first, one), *_ = posteriors.items()
    known = [p.compute_flops[orders[n]] for n, p in posteriors.items() if p.compute_flops is not None]
    labels = budgets(known[0]) if known else np.zeros(len(orders[first]), int)
    groups = [np.flatnonzero(labels == b) for b in range(labels.max() + 1)] if known else []
    return Comparison(
        loo={name: loo[name] for name in ranked.index},
        difference={name: 0.0 - float(value) for name, value in ranked["elpd_diff"].items()},
        difference_error={name: float(value) for name, value in ranked["dse"].items()},
        weights={name: float(value) for name, value in ranked["weight"].items()},
        budgets={
            name: leave_groups_out(group_density(posteriors[name], [orders[name][g] for g in groups]))
            for name in ranked.index
        },
        budget_flops=[float(np.exp(np.log(known[0][group]).mean())) for group in groups],
        budget_rows=[len(group) for group in groups],
        rows=[_row(one, i) for i in orders[first]],
    )


def rank(loo: Mapping[str, Loo]) -> pandas.DataFrame:
    """ArviZ's table, best first: elpd_diff from the best, dse its standard error over rows, weight by
    stacking."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ArviZ warns of, `pareto_k` says
        return az.compare({name: found.data for name, found in loo.items()}, method="stacking", scale="log")


def align(posteriors: Mapping[str, Posterior]) -> dict[str, np.ndarray]:
    """{name: order of its rows} that puts the rows of all posteriors side by side.

    Rows are the same where the loss and every column that two posteriors both read are, to the last bit.
    """
    (first, one), *others = posteriors.items()
    shared = set(one.rows).intersection(*(p.rows for _, p in others)) - {LOSS}
    keys = [LOSS, *(name for name in one.law.columns if name in shared)]
    orders = {}
    for name, posterior in posteriors.items():
        orders[name] = np.lexsort([posterior.row_numbers, *(posterior.rows[key] for key in reversed(keys))])
    told = {
        name: list(zip(*(p.rows[key][orders[name]].tolist() for key in keys), strict=True))
        for name, p in posteriors.items()
    }
    for name, posterior in others:
        if told[name] == told[first]:
            continue
        for here, there, owner in ((first, name, one), (name, first, posterior)):
            left = Counter(told[there])
            for place, row in enumerate(told[here]):
                left[row] -= 1
                if left[row] < 0:
                    raise InputError(
                        f"compare: {first} and {name}: were fitted to different rows ({len(told[first])} and "
                        f"{len(told[name])}); only {here} has {_row(owner, orders[here][place])}"
                    )
    return orders


def row_density(posterior: Posterior) -> np.ndarray:
    """log p(log loss of a row | the other rows, draw) of the fitted rows [chains, draws, rows]."""
    if not _normal(posterior):
        return _conditional_density(posterior)
    whitened, precision, _ = _precision(posterior)
    density = (np.log(precision / (2 * np.pi)) - whitened**2 / precision) / 2
    return density.reshape(posterior.chains, -1, density.shape[1])


def group_density(posterior: Posterior, groups: Sequence[np.ndarray]) -> np.ndarray:
    """log p(log losses of a group | the other rows, draw) [draws, groups]; groups: indices of rows."""
    if not groups:
        return np.empty((posterior.chains * posterior.data.posterior.sizes["draw"], 0))
    if not _normal(posterior):
        density = _conditional_density(posterior)
        density = density.reshape(-1, density.shape[2])
        return np.stack([density[:, group].sum(axis=1) for group in groups], axis=1)
    whitened, _, root = _precision(posterior)
    phi, noise = _phi(posterior), posterior.draws("noise_scale") ** 2
    found = np.empty((len(noise), len(groups)))
    for i, group in enumerate(groups):
        # The precision of the group is (I - A A^T) / sigma^2 with A = Phi_group root, so that its determinant
        # and its inverse are those of I - A^T A, which is no larger than the basis.
        gram = phi[group].T @ phi[group]
        inner = np.eye(len(gram)) - root[:, :, None] * gram * root[:, None, :]
        values = whitened[:, group]
        along = root * (values @ phi[group])
        solved = np.linalg.solve(inner, along[..., None])[..., 0]
        square = noise * ((values**2).sum(axis=1) + (along * solved).sum(axis=1))
        determinant = np.linalg.slogdet(inner)[1] - len(group) * np.log(2 * np.pi * noise)
        found[:, i] = (determinant - square) / 2
    return found


def _normal(posterior: Posterior) -> bool:
    """Whether the rows of a draw are normal with one noise, so that the formulas above hold."""
    return not {"tail", "noise_exponent"} & set(posterior.data.posterior)


def _phi(posterior: Posterior) -> np.ndarray:
    """The basis of the misfit at the fitted rows [rows, functions]; its columns are orthogonal."""
    return posterior.basis(*(posterior.rows[name] for name in posterior.law.columns))


def _precision(posterior: Posterior) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Q r [draws, rows], diagonal of Q [draws, rows], root [draws, functions]), with normal noise.

    r are the residuals of the law; Q, the inverse of sigma^2 I + tau^2 Phi Phi^T, is
    (I - Phi root^2 Phi^T) / sigma^2, since Phi has orthogonal columns.
    """
    phi, noise = _phi(posterior), posterior.draws("noise_scale")[:, None] ** 2
    misfit = posterior.draws("discrepancy_scale")[:, None] ** 2
    square = misfit / (noise + misfit * (phi**2).sum(axis=0))
    residual = posterior.residual(misfit=False)
    whitened = (residual - (square * (residual @ phi)) @ phi.T) / noise
    return whitened, (1 - square @ (phi**2).T) / noise, np.sqrt(square)


def _conditional_density(posterior: Posterior) -> np.ndarray:
    """log p(log loss of a row | draw, with its weights) [chains, draws, rows]."""
    scale = posterior.noise_scale(compute_flops=posterior.compute_flops)
    standard = posterior.residual(misfit=True) / scale
    if "tail" in posterior.data.posterior:
        density = stats.t.logpdf(standard, 1 / posterior.draws("tail")[:, None]) - np.log(scale)
    else:
        density = stats.norm.logpdf(standard) - np.log(scale)
    return density.reshape(posterior.chains, -1, density.shape[1])


def leave_one_out(likelihood: np.ndarray, posterior: Posterior | None = None) -> Loo:
    """PSIS-LOO from the log density of each row given the draw [chains, draws, rows] (and the other rows).

    posterior: whose draws tell how many effective ones there are; without it all count.
    """
    density = xr.DataArray(likelihood, dims=("chain", "draw", "row"), name="log_loss").to_dataset()
    draws = density.isel(row=0) if posterior is None else posterior.data.posterior
    data = az.InferenceData(posterior=draws, log_likelihood=density)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reff = 1.0 if posterior is None else None
        return Loo(az.loo(data, pointwise=True, reff=reff, scale="log"))


def leave_groups_out(density: np.ndarray) -> list[Fold]:
    """Each group of rows left out in turn; density [draws, groups] as `group_density` gives it.

    The weight of a draw is one over the density of the group, Pareto-smoothed. Where a group decides much,
    these weights are wild: `pareto_k` says so, and then only a fit without the group can tell.
    """
    folds = []
    for group in density.T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights, k = az.psislw(-group)
        folds.append(Fold(float(special.logsumexp(weights + group)), float(k)))
    return folds


def _row(posterior: Posterior, i: int) -> str:
    """A fitted row in words."""
    values = ", ".join(f"{name} {posterior.rows[name][i]:.6g}" for name in posterior.law.columns)
    return f"row {posterior.row_numbers[i]} ({values}, loss {posterior.rows[LOSS][i]:.6g})"
