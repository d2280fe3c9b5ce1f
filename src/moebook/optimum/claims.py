"""The findings of Abnar et al. 2025 as posterior probabilities.

A claim holds in a draw or it does not; its probability is the share of draws in which it holds. Everything
is judged inside the fitted range: over the fitted sparsities, widths and sizes. Where the best size is the
edge of that range a comparison is censored, and `edge` says in what share of the cells that happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moebook.architecture import Family
from moebook.bayes import Posterior, require_passed
from moebook.errors import InputError
from moebook.optimum.best import SPARSITY_POINTS, WIDTH_POINTS, size_profile
from moebook.optimum.grid import fitted_span, fixed_size_grid, free_size_grid
from moebook.optimum.minimum import lowest

MOST_SPARSITIES = 8
SIZES = 5


@dataclass(frozen=True)
class Claim:
    """One hypothesis. probability: share of draws; mcse: its Monte Carlo error; edge: censored cells, share;
    detail: {what: probability} of its parts."""

    name: str
    statement: str
    probability: float
    mcse: float
    edge: float
    detail: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """The claim as JSON types."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Free:
    """Best sizes with C fixed: loss_nats, params, params_active, edge [budgets, draws, sparsities]."""

    sparsities: np.ndarray
    loss_nats: np.ndarray
    params: np.ndarray
    params_active: np.ndarray
    edge: np.ndarray


@dataclass(frozen=True)
class _Fixed:
    """Best sparsities with C and N fixed: slack_star = -log(1 - S*), dense, top [budgets, sizes, draws]."""

    sizes: np.ndarray
    slack_star: np.ndarray
    dense: np.ndarray
    top: np.ndarray


def claims(posterior: Posterior, budgets: Sequence[float], family: Family | None = None) -> list[Claim]:
    """H1 to H7 at compute budgets in FLOPs (two or more, in any order).

    Raises InputError for fewer than two budgets or a law without sparsity, FailedPosterior as `optimum` does.
    """
    family = family or Family()
    require_passed(posterior.summary)
    budgets = sorted({float(budget) for budget in budgets})
    if len(budgets) < 2 or not np.isfinite(budgets).all() or budgets[0] <= 0:
        raise InputError(f"claims: budgets: {budgets}: at least two different positive numbers are needed")
    free, fixed = _free(posterior, budgets, family), _fixed(posterior, budgets, family)
    ess = _independent(posterior)

    def claim(
        name: str, statement: str, holds: np.ndarray, edge: float, detail: dict[str, np.ndarray]
    ) -> Claim:
        p = float(holds.mean())
        parts = {what: float(np.mean(value)) for what, value in detail.items()}
        return Claim(name, statement, p, float(np.sqrt(p * (1 - p) / ess)), float(edge), parts)

    named = [f"C = {budget:.3g}" for budget in budgets]
    at = [f"S = {sparsity:.4g}" for sparsity in free.sparsities]
    of = [f"N = {size:.3g}" for size in fixed.sizes]
    censored = free.edge.mean()
    falls = (np.diff(free.loss_nats, axis=-1) < 0).all(axis=-1)
    larger = free.params[..., -1] > free.params[..., 0]
    fewer = free.params_active[..., -1] < free.params_active[..., 0]
    grows = free.params[-1] > free.params[0]
    rises = fixed.slack_star[:, -1] > fixed.slack_star[:, 0]
    interior = ~fixed.dense & ~fixed.top
    dense_small, sparse_large = fixed.dense[:, 0], ~fixed.dense[:, -1]
    last_dense = fixed.dense.sum(axis=1)  # how many of the sizes prefer the dense model
    drop = fixed.slack_star[-1] < fixed.slack_star[0]
    climb = fixed.slack_star[-1] > fixed.slack_star[0]
    middle = len(fixed.sizes) // 2
    ends = (fixed.dense | fixed.top).mean()
    return [
        claim(
            "H1", "At fixed C the loss at the best N falls at every step of sparsity, at every budget.",
            falls.all(axis=0), censored, dict(zip(named, falls, strict=True)),
        ),
        claim(
            "H2", "At fixed C the best N is larger, and the best active N smaller, at the largest sparsity "
            "than in the dense model, at every budget.",
            (larger & fewer).all(axis=0), censored,
            {f"{n}: best N larger": v for n, v in zip(named, larger, strict=True)}
            | {f"{n}: best active N smaller": v for n, v in zip(named, fewer, strict=True)},
        ),
        claim(
            "H3", "At every fixed sparsity the best N, and with it the active N, is larger at the largest "
            "budget than at the smallest.",
            grows.all(axis=-1), censored, dict(zip(at, grows.T, strict=True)),
        ),
        claim(
            "H4", "At fixed C and N some size has its best sparsity between dense and the largest, and the "
            "best sparsity is higher for the largest N than for the smallest, at every budget.",
            (rises & interior.any(axis=1)).all(axis=0), ends,
            {f"{n}: S* rises with N": v for n, v in zip(named, rises, strict=True)}
            | {f"{n}: interior for {s}": interior[i, j]
               for i, n in enumerate(named) for j, s in enumerate(of)},
        ),
        claim(
            "H5", "At fixed C the dense model wins at the smallest N and not at the largest, at every "
            "budget, and up to a larger N at the largest budget than at the smallest.",
            (dense_small & sparse_large).all(axis=0) & (last_dense[-1] > last_dense[0]), ends,
            {f"{n}: dense wins at {of[0]}": v for n, v in zip(named, dense_small, strict=True)}
            | {"dense wins up to a larger N at the largest budget": last_dense[-1] > last_dense[0]},
        ),
        claim(
            "H6", "At fixed N (the middle size) the best sparsity falls from the smallest budget to the "
            "largest.",
            drop[middle], ends,
            {f"{s}: falls": v for s, v in zip(of, drop, strict=True)}
            | {f"{s}: rises": v for s, v in zip(of, climb, strict=True)},
        ),
        claim(
            "H7", "At every budget and sparsity the best N lies between the smallest and the largest fitted.",
            ~free.edge.any(axis=(0, 2)), censored,
            {f"{n}, {s}": ~free.edge[i, :, j] for i, n in enumerate(named) for j, s in enumerate(at)},
        ),
    ]  # fmt: skip


def _free(posterior: Posterior, budgets: list[float], family: Family) -> _Free:
    fitted = fitted_span(posterior, family)
    sparsities = fitted.sparsities
    if len(sparsities) > MOST_SPARSITIES:
        chosen = np.linspace(0, len(sparsities) - 1, MOST_SPARSITIES).round().astype(int)
        sparsities = sparsities[chosen]
    parts = []
    for budget in budgets:
        grid = free_size_grid(budget, sparsities, fitted.widths, family, WIDTH_POINTS)
        loss_nats, log_width, low, high = size_profile(posterior, grid)
        counts = family.counts_at(np.exp(log_width), sparsities[None, :])
        parts.append((loss_nats, counts.params, counts.params_active, low | high))
    return _Free(sparsities, *(np.stack(part) for part in zip(*parts, strict=True)))


def _fixed(posterior: Posterior, budgets: list[float], family: Family) -> _Fixed:
    fitted = fitted_span(posterior, family)
    slack = np.linspace(0.0, -np.log1p(-fitted.sparsities[-1]), SPARSITY_POINTS)
    sizes = np.geomspace(*np.quantile(posterior.rows["params"], [0.1, 0.9]), SIZES)
    shape = (len(budgets), SIZES, _draws(posterior))
    star, dense, top = (np.empty(shape, kind) for kind in (float, bool, bool))
    for i, budget in enumerate(budgets):
        for j, size in enumerate(sizes):
            loss_nats, *_ = size_profile(posterior, fixed_size_grid(budget, size, -np.expm1(-slack), family))
            best = lowest(slack, loss_nats)
            star[i, j], dense[i, j], top[i, j] = best.at, best.low, best.high
    return _Fixed(sizes, star, dense, top)


def _draws(posterior: Posterior) -> int:
    return len(posterior.draws("level"))


def _independent(posterior: Posterior) -> float:
    """Independent draws that the stored ones are worth: the worst effective sample of the fit, if fewer."""
    worst = min(gate["value"] for gate in posterior.summary["gates"] if "effective" in gate["name"])
    return max(1.0, min(float(_draws(posterior)), worst))
