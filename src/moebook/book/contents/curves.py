"""The optimum of every draw along a row of budgets, as the chapters need it.

Arrays of optima are [draws, budgets]; sparsities lie in [0, 1), budgets in FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook.book import profiles
from moebook.book.contents.runs import run_table
from moebook.book.paths import runs_folder

if TYPE_CHECKING:
    from moebook.bayes import Posterior
    from moebook.optimum import Optimum

STEP = 1.45  # about the ratio of neighbouring budgets of a slider
BEYOND = 10.0  # how far past the largest budget the sliders go, marked as extrapolation
BEYOND_BUDGETS = 5


@dataclass(frozen=True)
class Curve:
    """The optimum of every draw at several budgets.

    text: the text's name; identity: of the posterior; compute_flops: [B]; sparsity_star, params_star,
    params_active_star, tokens_star: [draws, B]; verdicts: one a budget, as the optimum itself words it;
    fitted: smallest and largest budget with runs; sparsity_grid: [P], loss_nats: quantiles .05, .5 and .95 of
    the loss at the best size for each sparsity, each [B, P]; saved_nats: [B] median of what the best
    sparsity of a draw saves against its dense model. sparsity_run, sizes_run: the largest sparsity run at
    each budget and the most sizes tried with it; empty where not every budget was run.
    """

    text: str
    identity: str
    compute_flops: np.ndarray
    sparsity_star: np.ndarray
    params_star: np.ndarray
    params_active_star: np.ndarray
    tokens_star: np.ndarray
    verdicts: tuple[str, ...]
    fitted: tuple[float, float]
    sparsity_grid: np.ndarray
    loss_nats: dict[str, np.ndarray]
    saved_nats: np.ndarray | None = None
    sparsity_run: tuple[float, ...] = ()
    sizes_run: tuple[int, ...] = ()

    @property
    def headline_index(self) -> int:
        """Index of the largest budget at which the largest sparsity of all was run."""
        reached = [i for i, s in enumerate(self.sparsity_run) if np.isclose(s, self.sparsity_top)]
        return reached[-1] if reached else len(self.compute_flops) - 1

    @property
    def sparsity_top(self) -> float:
        """The largest sparsity of the search, which is the largest that was run."""
        return float(self.sparsity_grid[-1])


@cache
def posterior(text: str) -> Posterior:
    """The stored posterior of a text."""
    from moebook.bayes import Posterior

    return Posterior.load(runs_folder() / "posteriors" / text)


@cache
def optimum_of(fit: Callable[..., Posterior], *of: Any, compute_flops: float) -> Optimum:
    """The optimum by the posterior `fit(*of)` at a budget; several tables and sentences ask for the same."""
    from moebook.optimum import optimum

    return optimum(fit(*of), compute_flops=compute_flops)


def fitted_budgets(text: str) -> list[float]:
    """The budgets at which this text has runs, FLOPs, rising."""
    return sorted({float(c) for c in profiles.done_runs(run_table(), text)["budget_flops"]})


@cache
def answer(text: str) -> Curve:
    """The optimum at the budgets that were run."""
    budgets = fitted_budgets(text)
    runs = profiles.done_runs(run_table(), text)
    at_top = [runs[runs["budget_flops"] == c] for c in budgets]
    top = tuple(float(part["sparsity"].max()) for part in at_top)
    sizes = tuple(
        int(part[part["sparsity"] == s]["width"].nunique()) for part, s in zip(at_top, top, strict=True)
    )
    return replace(_optima(text, budgets), sparsity_run=top, sizes_run=sizes)


@cache
def curve(text: str) -> Curve:
    """The optimum on a grid of budgets, all that were run among them, up to BEYOND times the largest."""
    return _optima(text, slider_budgets(fitted_budgets(text)))


def slider_budgets(budgets: Sequence[float]) -> list[float]:
    """Rising budgets: those that were run, even steps between them, and BEYOND_BUDGETS beyond."""
    grid = [budgets[0]]
    for low, high in zip(budgets, budgets[1:], strict=False):
        steps = max(1, round(float(np.log(high / low) / np.log(STEP))))
        grid += [*np.geomspace(low, high, steps + 1)[1:-1], high]
    beyond = np.geomspace(budgets[-1], BEYOND * budgets[-1], BEYOND_BUDGETS + 1)[1:]
    return [float(budget) for budget in (*grid, *beyond)]


def _optima(text: str, budgets: Sequence[float]) -> Curve:
    found = [optimum_of(posterior, text, compute_flops=float(c)) for c in budgets]
    runs = fitted_budgets(text)
    profiles_nats = [np.quantile(o.loss_profile_nats, [0.05, 0.5, 0.95], axis=0) for o in found]
    return Curve(
        text=text, identity=found[0].identity, compute_flops=np.array(budgets, dtype=float),
        sparsity_star=np.stack([o.sparsity_star for o in found], 1),
        params_star=np.stack([o.params_star for o in found], 1),
        params_active_star=np.stack([o.params_active_star for o in found], 1),
        tokens_star=np.stack([o.tokens_star for o in found], 1),
        verdicts=tuple(o.verdict for o in found), fitted=(runs[0], runs[-1]),
        sparsity_grid=found[0].sparsity_grid,
        loss_nats=dict(zip(("low", "middle", "high"), np.stack(profiles_nats, 1), strict=True)),
        saved_nats=np.array([np.median(o.loss_profile_nats[:, 0] - o.loss_star_nats) for o in found]),
    )  # fmt: skip
