"""The best size at a compute budget: what a posterior can answer that saw no choice of sparsities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np

from moebook.bayes import Posterior, require_passed
from moebook.bayes.posterior import Surface
from moebook.errors import InputError
from moebook.optimum.best import EDGE_LIMIT, EXTRAPOLATION_FROM
from moebook.optimum.minimum import lowest

SIZE_POINTS = 120


@dataclass(frozen=True)
class BestSize:
    """N* and what goes with it, for every draw, at one budget.

    why: why no sparsity is named; sparsity: that of all fitted runs, or None where the law reads none;
    params_star, tokens_star, loss_star_nats: [draws]; flops_per_param_token: C / (N D), 6 by convention or
    the fitted runs' own, whose ends are `flops_ends`; edge: share of the draws whose best size is the
    smallest, the largest fitted one; extrapolation: how many times the budget lies beyond the fitted ones;
    1 inside.
    """

    compute_flops: float
    why: str
    sparsity: float | None
    params_star: np.ndarray
    tokens_star: np.ndarray
    loss_star_nats: np.ndarray
    flops_per_param_token: float
    flops_ends: tuple[float, float]
    edge: dict[str, float]
    extrapolation: float
    chains: int
    identity: str

    @property
    def verdict(self) -> str:
        """`identified`, or `not identified: ` and why."""
        limits = {"params_low": "smallest", "params_high": "largest"}
        reasons = [
            f"{100 * self.edge[name]:.0f} % of the mass lies at the {what} fitted size"
            for name, what in limits.items()
            if self.edge[name] > EDGE_LIMIT
        ]
        return f"not identified: {'; '.join(reasons)}" if reasons else "identified"

    @property
    def quantities(self) -> dict[str, np.ndarray]:
        """The per-draw arrays by name."""
        return {name: getattr(self, name) for name in ("params_star", "tokens_star", "loss_star_nats")}

    def interval(self, level: float, quantity: str) -> tuple[float, float]:
        """Central interval that holds the share `level` of the draws."""
        low, high = np.quantile(self.quantities[quantity], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def monte_carlo_error(self, quantity: str) -> float:
        """Monte Carlo standard error of the median; 0 where every draw agrees."""
        draws = self.quantities[quantity].reshape(self.chains, -1)
        error = 0.0 if np.ptp(draws) == 0 else float(az.mcse(draws, method="median"))
        return error if np.isfinite(error) else 0.0

    def summary(self) -> dict[str, Any]:
        """Everything but the draws, as JSON types."""
        described = {
            name: {
                "median": float(np.median(draws)),
                "interval_50": list(self.interval(0.5, name)),
                "interval_90": list(self.interval(0.9, name)),
                "mcse_median": self.monte_carlo_error(name),
            }
            for name, draws in self.quantities.items()
        }
        return {
            "compute_flops": self.compute_flops, "sparsity_star": None, "why": self.why,
            "sparsity": self.sparsity, **described, "flops_per_param_token": self.flops_per_param_token,
            "edge": self.edge, "extrapolation": self.extrapolation,
            "identified": self.verdict == "identified", "verdict": self.verdict, "identity": self.identity,
        }  # fmt: skip


def no_choice_of_sparsity(posterior: Posterior) -> str:
    """Why a posterior cannot say which sparsity is best; empty where it can."""
    if "sparsity" not in posterior.law.columns:
        return f"the law {posterior.law.name} has no term in sparsity"
    seen = np.unique(posterior.rows["sparsity"])
    return f"every fitted run has sparsity {seen[0]:.4g}" if len(seen) == 1 else ""


def best_size(posterior: Posterior, compute_flops: float) -> BestSize:
    """The size of lowest loss at `compute_flops`, for every draw, among the fitted sizes.

    The budget leaves a size the tokens C / (k N), k the geometric mean of C / (N D) over the fitted runs:
    6, where their compute was counted so. Raises InputError where the law does not read params and tokens
    or the compute of the runs is not known, FailedPosterior for a posterior that failed a gate.
    """
    require_passed(posterior.summary)
    rows, compute = posterior.rows, posterior.compute_flops
    why = no_choice_of_sparsity(posterior)
    others = set(posterior.law.columns) - {"params", "tokens", "sparsity"}
    if others or not {"params", "tokens"} <= set(posterior.law.columns):
        raise InputError(
            f"optimum: law: {posterior.law.name}: {why}, and it does not weigh size against data"
        )
    if compute is None and posterior.summary.get("flops_per_token") != "6N":
        raise InputError(f"optimum: {why}; the best size needs the fitted runs' compute, which is not known")
    compute = 6 * rows["params"] * rows["tokens"] if compute is None else compute
    each = compute / rows["params"] / rows["tokens"]
    cost = float(np.exp(np.log(each).mean()))
    size = np.linspace(*np.log([rows["params"].min(), rows["params"].max()]), SIZE_POINTS)
    points = {"params": np.exp(size), "tokens": compute_flops / cost / np.exp(size)}
    sparsity = float(rows["sparsity"][0]) if "sparsity" in posterior.law.columns else None
    if sparsity is not None:
        points["sparsity"] = np.full(SIZE_POINTS, sparsity)
    loss = Surface(posterior, [points[name] for name in posterior.law.columns], "posterior", True)(
        slice(None)
    )
    best = lowest(size, loss)
    star = np.exp(best.at)
    times = max(compute_flops / compute.max(), compute.min() / compute_flops)
    return BestSize(
        compute_flops=float(compute_flops),
        why=why,
        sparsity=sparsity,
        params_star=star,
        tokens_star=compute_flops / cost / star,
        loss_star_nats=best.value,
        flops_per_param_token=cost,
        flops_ends=(float(each.min()), float(each.max())),
        edge={"params_low": float(best.low.mean()), "params_high": float(best.high.mean())},
        extrapolation=float(times) if times > EXTRAPOLATION_FROM else 1.0,
        chains=posterior.chains,
        identity=posterior.identity,
    )
