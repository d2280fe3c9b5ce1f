"""The best sparsity at a compute budget, for every draw of a posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np

from moebook.architecture import Family
from moebook.bayes import Posterior, require_passed
from moebook.bayes.identity import identity
from moebook.errors import InputError
from moebook.files import stored
from moebook.optimum.grid import Fitted, Grid, fitted_span, fixed_size_grid, free_size_grid
from moebook.optimum.minimum import lowest

SPARSITY_POINTS = 40
WIDTH_POINTS = 60
EDGE_LIMIT = 0.05  # from here on a 90 % interval ends at the edge of the grid, not at the data's word
TAUGHT_FROM = 0.5  # the data must at least halve the prior's spread of S*, on the scale -log(1 - S)
EXTRAPOLATION_FROM = 1.05
_CHUNK = 250


@dataclass(frozen=True)
class Optimum:
    """S* and what goes with it, for every draw, at one budget (and one size, where `params` is given).

    sparsity_star, params_star, params_active_star, tokens_star, loss_star_nats: [draws].
    sparsity_grid [points]; loss_profile_nats, params_profile [draws, points]: the loss at the best size for
    each sparsity, and that size.
    edge: share of the draws whose optimum is the end of a grid: sparsity_low (the dense model: a true
    bound), sparsity_high (the largest fitted sparsity), width_low and width_high (the fitted widths).
    outside: share of the draws whose optimum has params or tokens outside the fitted range.
    extrapolation: how many times the budget exceeds the largest fitted one, or falls short of the smallest;
    1 inside. contraction: 1 - sd / prior sd of -log(1 - S*). identity: of the posterior.
    """

    compute_flops: float
    params: float | None
    sparsity_star: np.ndarray
    params_star: np.ndarray
    params_active_star: np.ndarray
    tokens_star: np.ndarray
    loss_star_nats: np.ndarray
    sparsity_grid: np.ndarray
    loss_profile_nats: np.ndarray
    params_profile: np.ndarray
    edge: dict[str, float]
    outside: dict[str, float]
    extrapolation: float
    contraction: float
    chains: int
    identity: str
    estimate_identity: str

    @property
    def identified(self) -> bool:
        """Whether the data, and not an edge or the prior, place the optimum."""
        return self.verdict == "identified"

    @property
    def verdict(self) -> str:
        """`identified`, or `not identified: ` and why."""
        limits = {
            "sparsity_high": f"the largest fitted sparsity, S = {self.sparsity_grid[-1]:.4g}",
            "width_low": "the smallest fitted width",
            "width_high": "the largest fitted width",
        }
        reasons = [
            f"{100 * self.edge[name]:.0f} % of the mass lies at the edge, {what}"
            for name, what in limits.items()
            if self.edge.get(name, 0.0) > EDGE_LIMIT
        ]
        dense = self.edge.get("sparsity_low", 0.0)
        if EDGE_LIMIT < dense < 1 - EDGE_LIMIT:
            share = f"{100 * dense:.0f} % of the draws"
            reasons.append(f"dense is best in {share}, so whether to be sparse is open")
        if not reasons and self.contraction < TAUGHT_FROM:
            reasons = [f"the prior decides (data narrow it by {100 * self.contraction:.0f} %)"]
        return f"not identified: {'; '.join(reasons)}" if reasons else "identified"

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """The per-draw arrays by name."""
        names = ("sparsity_star", "params_star", "params_active_star", "tokens_star", "loss_star_nats")
        return {name: getattr(self, name) for name in names}

    def median(self, quantity: str = "sparsity_star") -> float:
        """Posterior median."""
        return float(np.median(self.quantities[quantity]))

    def interval(self, level: float = 0.9, quantity: str = "sparsity_star") -> tuple[float, float]:
        """Central interval that holds the share `level` of the draws."""
        low, high = np.quantile(self.quantities[quantity], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def monte_carlo_error(self, quantity: str = "sparsity_star", probability: float = 0.5) -> float:
        """Monte Carlo standard error of a quantile; 0 where every draw agrees."""
        draws = self.quantities[quantity].reshape(self.chains, -1)
        if np.ptp(draws) == 0:
            return 0.0
        error = float(az.mcse(draws, method="quantile", prob=probability))
        return error if np.isfinite(error) else 0.0

    def summary(self) -> dict[str, Any]:
        """Everything but the draws, as JSON types."""
        described = {}
        for name in self.quantities:
            described[name] = {
                "median": self.median(name),
                "interval_50": list(self.interval(0.5, name)),
                "interval_90": list(self.interval(0.9, name)),
                "mcse_median": self.monte_carlo_error(name),
            }
        return {
            "compute_flops": self.compute_flops,
            "params": self.params,
            **described,
            "edge": self.edge,
            "outside": self.outside,
            "extrapolation": self.extrapolation,
            "contraction": self.contraction,
            "identified": self.identified,
            "verdict": self.verdict,
            "identity": self.identity,
            "estimate_identity": self.estimate_identity,
        }


def optimum(
    posterior: Posterior,
    compute_flops: float,
    params: float | None = None,
    family: Family | None = None,
    *,
    sparsity_points: int = SPARSITY_POINTS,
    width_points: int = WIDTH_POINTS,
    discrepancy: bool = True,
    slowdown: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Optimum:
    """The sparsity of lowest loss at `compute_flops`, for every draw; at fixed `params` if given.

    The grid runs evenly in -log(1 - S) from 0 to the largest fitted sparsity and evenly in log width over
    the fitted widths; between its points the minimum is that of a parabola. discrepancy: with the law's
    misfit, which belongs to what is believed. The loss is in nats, without the noise of a single run.

    slowdown: seconds that a FLOP takes at each sparsity over those of the dense model; then the budget is
    one of time, given as what the dense model computes in it: `compute_flops` / slowdown(S) are left at S.

    Raises InputError for a budget or size that is no positive number or a law without sparsity, and
    FailedPosterior for a posterior that failed a gate.
    """
    family = family or Family()
    require_passed(posterior.summary)
    for name, value in (("compute_flops", compute_flops), ("params", params)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"optimum: {name}: {value}: must be a positive number")
    fitted = fitted_span(posterior, family)
    slack = np.linspace(0.0, -np.log1p(-fitted.sparsities[-1]), sparsity_points)
    sparsity = -np.expm1(-slack)
    sparsity[-1] = fitted.sparsities[-1]
    slow = slowdown or np.ones_like
    left_flops = compute_flops / slow(sparsity)[:, None]
    if params is None:
        grid = free_size_grid(left_flops, sparsity, fitted.widths, family, width_points)
    else:
        grid = fixed_size_grid(left_flops, params, sparsity, family)
    profile, log_width, low, high = size_profile(posterior, grid, "posterior", discrepancy)
    best = lowest(slack, profile)
    draws = np.arange(len(profile))
    nearest = np.abs(slack - best.at[:, None]).argmin(axis=1)
    edge = {"sparsity_low": best.low.mean(), "sparsity_high": best.high.mean()}
    if params is None:
        edge |= {"width_low": low[draws, nearest].mean(), "width_high": high[draws, nearest].mean()}
    star = -np.expm1(-best.at)
    star[best.high] = sparsity[-1]
    width_star = np.exp(_interpolate(slack, log_width, best.at))
    counts = family.counts_at(width_star, star)
    params_star = counts.params if params is None else np.full(len(star), float(params))
    tokens_star = compute_flops / slow(star) / counts.flops_per_token
    prior, *_ = size_profile(posterior, grid, "prior", discrepancy, draws=500)
    question = {
        "posterior": posterior.identity, "compute_flops": float(compute_flops),
        "params": None if params is None else float(params), "family": stored(family),
        "sparsity_points": sparsity_points, "width_points": width_points, "discrepancy": discrepancy,
    }  # fmt: skip
    if slowdown is not None:
        question["slowdown"] = [float(times) for times in slow(sparsity)]
    return Optimum(
        compute_flops=float(compute_flops),
        params=None if params is None else float(params),
        sparsity_star=star,
        params_star=params_star,
        params_active_star=counts.params_active,
        tokens_star=tokens_star,
        loss_star_nats=best.value,
        sparsity_grid=sparsity,
        loss_profile_nats=profile,
        params_profile=family.counts_at(np.exp(log_width), sparsity[None, :]).params,
        edge={name: float(share) for name, share in edge.items()},
        outside={
            "params": _outside(params_star, fitted.params),
            "tokens": _outside(tokens_star, fitted.tokens),
        },
        extrapolation=extrapolation(compute_flops, fitted),
        contraction=_contraction(lowest(slack, prior).at, best.at),
        chains=posterior.chains,
        identity=posterior.identity,
        estimate_identity=identity(question),
    )


def size_profile(
    posterior: Posterior,
    grid: Grid,
    group: str = "posterior",
    discrepancy: bool = True,
    draws: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """At each sparsity of the grid, the loss of the best width: (loss_nats, log width, at the lowest width,
    at the highest width), each [draws, points of S]. With one width a sparsity nothing is chosen."""
    surface = posterior.surface(grid.params, grid.tokens, grid.sparsity[:, None], group, discrepancy)
    total = min(surface.draws, draws or surface.draws)
    parts = []
    for start in range(0, total, _CHUNK):
        loss = surface(slice(start, min(start + _CHUNK, total)))
        if grid.width.shape[1] == 1:
            never = np.zeros(loss.shape[:2], bool)
            parts.append(
                (loss[..., 0], np.broadcast_to(np.log(grid.width[:, 0]), loss.shape[:2]), never, never)
            )
        else:
            best = lowest(np.log(grid.width[0]), loss)
            parts.append((best.value, best.at, best.low, best.high))
    loss_nats, log_width, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    return loss_nats, log_width, low, high


def extrapolation(compute_flops: float, fitted: Fitted) -> float:
    """How many times a budget lies beyond the fitted ones, either way; 1 inside."""
    smallest, largest = fitted.compute_flops
    times = max(compute_flops / largest, smallest / compute_flops, 1.0)
    return float(times) if times > EXTRAPOLATION_FROM else 1.0


def _outside(values: np.ndarray, limits: tuple[float, float]) -> float:
    """Share of values beyond limits, by more than rounding."""
    low, high = limits
    return float(np.mean((values < low / EXTRAPOLATION_FROM) | (values > high * EXTRAPOLATION_FROM)))


def _contraction(prior: np.ndarray, posterior: np.ndarray) -> float:
    """1 - sd / prior sd; 0 where the prior was certain already, so that the data had nothing to say."""
    return float(1 - np.std(posterior) / np.std(prior)) if np.ptp(prior) > 0 else 0.0


def _interpolate(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """y [draws, points] over an even grid x [points], read at one place a draw, at [draws]."""
    place = np.clip((at - x[0]) / (x[1] - x[0]), 0, len(x) - 1)
    left = np.minimum(place.astype(int), len(x) - 2)
    share = place - left
    rows = np.arange(len(y))
    return y[rows, left] * (1 - share) + y[rows, left + 1] * share
