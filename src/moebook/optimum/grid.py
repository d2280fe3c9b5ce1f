"""Where an optimum is looked for: sparsities and widths at exactly one compute budget.

Cost is the family's own accounting: tokens = compute / flops_per_token(width, sparsity), not 6 N D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moebook.architecture import Family
from moebook.bayes import Posterior
from moebook.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Points of one budget: sparsity [points of S]; the others [points of S, points of width].

    compute_flops: the budget, one for all or one for each sparsity [points of S, 1]; width: residual width
    (real); params, params_active: counts; tokens: D that spends the budget exactly.
    """

    compute_flops: float | np.ndarray
    sparsity: np.ndarray
    width: np.ndarray
    params: np.ndarray
    params_active: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """What the fitted runs span, as models of one family.

    sparsities: the distinct ones, sorted; widths, compute_flops, params, tokens: (lowest, highest).
    """

    sparsities: np.ndarray
    widths: tuple[float, float]
    compute_flops: tuple[float, float]
    params: tuple[float, float]
    tokens: tuple[float, float]


def fitted_span(posterior: Posterior, family: Family) -> Fitted:
    """What the posterior's runs span; a run's width is the one that gives its parameters at its sparsity."""
    if "sparsity" not in posterior.rows:
        raise InputError(
            f"optimum: law: {posterior.law.name}: has no term in sparsity, so no sparsity is best"
        )
    rows = posterior.rows
    width = width_of(rows["params"], rows["sparsity"], family)
    compute = family.counts_at(width, rows["sparsity"]).flops_per_token * rows["tokens"]
    ends = [(float(v.min()), float(v.max())) for v in (width, compute, rows["params"], rows["tokens"])]
    return Fitted(np.unique(rows["sparsity"]), *ends)


def width_of(params: np.ndarray, sparsity: np.ndarray, family: Family) -> np.ndarray:
    """The real width at which the family has `params` parameters at `sparsity`; by bisection, broadcast."""
    params, sparsity = np.broadcast_arrays(np.asarray(params, float), np.asarray(sparsity, float))
    low, high = np.full(params.shape, -20.0), np.full(params.shape, 25.0)  # logarithms: from 2e-9 to 7e10
    for _ in range(60):
        middle = (low + high) / 2
        above = family.counts_at(np.exp(middle), sparsity).params > params
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.exp((low + high) / 2)


def free_size_grid(
    compute_flops: float | np.ndarray,
    sparsity: np.ndarray,
    widths: tuple[float, float],
    family: Family,
    points: int,
) -> Grid:
    """Every sparsity with `points` widths, evenly spaced in log between the two ends of `widths`."""
    width = np.broadcast_to(np.geomspace(*widths, points), (len(sparsity), points))
    return _grid(compute_flops, sparsity, width, family)


def fixed_size_grid(
    compute_flops: float | np.ndarray, params: float, sparsity: np.ndarray, family: Family
) -> Grid:
    """Every sparsity with the one width at which the family has `params` parameters."""
    return _grid(compute_flops, sparsity, width_of(params, sparsity, family)[:, None], family)


def _grid(compute_flops: float | np.ndarray, sparsity: np.ndarray, width: np.ndarray, family: Family) -> Grid:
    counts = family.counts_at(width, np.broadcast_to(sparsity[:, None], width.shape))
    return Grid(
        compute_flops,
        sparsity,
        width,
        counts.params,
        counts.params_active,
        compute_flops / counts.flops_per_token,
    )
