"""A rule for the learning rate, and what a larger batch costs, from the runs of a tuning study.

An *anchor* is one model, number of tokens, batch and recipe, trained at several rates eta. Near its best its
loss is a parabola in log2 eta, and the best rate moves as a power law:

    loss = m_anchor + k (log2 eta - log2 eta*)^2
    eta* = eta_0 (N / N_0)^n (D / D_0)^d (1 - S)^s (B / B_0)^b

Each anchor has a level m for each seed: runs that share initial weights and the order of the data are
compared with each other, and a rate that was tried with one seed alone is not taken for better because that
seed was. The curvature may grow with sparsity, k = k_0 + k_1 log2 1/(1 - S). A power is asked for only where
the anchors can tell it from others. The rate is that of a recipe, before its factor of the width.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moebook.errors import InputError
from moebook.study.anchors import Anchor, anchors, anchors_of_study, differences, main_recipe

__all__ = [
    "FACTORS", "Anchor", "RateRule", "anchors", "anchors_of_study", "by_batch", "differences", "fit_rate",
    "gains", "main_recipe", "regret_nats",
]  # fmt: skip

FACTORS = ("unsparsity", "params", "tokens", "batch_tokens")


@dataclass(frozen=True)
class RateRule:
    """The fitted rule: rate at the geometric means `at` of the factors, powers and their standard errors.

    curvature_nats: k_0, the loss by which twice or half the best rate is worse in a dense model;
    curvature_growth_nats: k_1; residual_nats: root mean square of what the fit leaves beside the levels;
    runs, anchors: how many it rests on.
    """

    rate: float
    at: dict[str, float]
    powers: dict[str, float]
    errors: dict[str, float]
    curvature_nats: float
    curvature_growth_nats: float
    residual_nats: float
    runs: int
    anchors: int

    def __call__(self, anchor: Anchor) -> float:
        """The best rate of an anchor by the rule; an array where its factors are arrays."""
        factors = ((getattr(anchor, name) / self.at[name]) ** power for name, power in self.powers.items())
        return self.rate * math.prod(factors)

    def curvature(self, anchor: Anchor) -> float:
        """Nats by which twice or half its best rate is worse for an anchor; an array as above."""
        return self.curvature_nats - self.curvature_growth_nats * np.log2(anchor.unsparsity)

    def loss_nats(self, anchor: Anchor, rate: float) -> float:
        """An anchor's loss at a rate, by the rule's parabola at the level of its runs."""
        best, k = self(anchor), self.curvature(anchor)
        level = np.mean(np.array(anchor.losses_nats) - k * np.log2(np.array(anchor.rates) / best) ** 2)
        return float(level + k * np.log2(rate / best) ** 2)


def fit_rate(given: Sequence[Anchor]) -> RateRule:
    """The rule by least squares over all anchors that were trained at two rates or more.

    Raises InputError where they do not show a best rate: too few, or no curvature upwards.
    """
    from scipy import optimize

    used = [anchor for anchor in given if len(anchor.rates) > 1]
    at = {n: float(np.exp(np.mean([np.log(getattr(a, n)) for a in used]))) for n in FACTORS if used}
    names = _told_apart(used, at)
    runs = [(i, *point) for i, anchor in enumerate(used) for point in anchor.points]
    levels = {level: j for j, level in enumerate(sorted({(i, seed) for i, _, seed, _ in runs}))}
    grows = "unsparsity" in names
    if len(runs) - len(levels) - 2 - grows - len(names) < 1:
        raise InputError(f"tuning: {len(runs)} runs at {len(used)} anchors: too few for a rule of rates")
    x = np.log2([rate for _, rate, _, _ in runs])
    loss = np.array([loss for *_, loss in runs])
    level = np.array([levels[i, seed] for i, _, seed, _ in runs])
    logs = np.array([[np.log2(getattr(used[i], n) / at[n]) for n in names] for i, *_ in runs])
    sparser = np.array([-np.log2(used[i].unsparsity) if grows else 0.0 for i, *_ in runs])

    def left(theta: np.ndarray) -> np.ndarray:
        k = theta[1] + (theta[2] * sparser if grows else 0.0)
        rest = loss - k * (x - theta[0] - logs @ theta[2 + grows :]) ** 2
        return rest - (np.bincount(level, rest) / np.bincount(level))[level]

    start = np.zeros(2 + grows + len(names))
    start[:2] = x.mean(), 0.02
    found = optimize.least_squares(left, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    growth = float(found.x[2]) if grows else 0.0
    inside = x.min() - 1 < found.x[0] < x.max() + 1  # a parabola so flat that it ends elsewhere is none
    if not inside or (found.x[1] + growth * sparser).min() <= 0:
        raise InputError("tuning: the loss has no lowest point between the rates that were tried")
    variance = 2 * found.cost / (len(runs) - len(levels) - len(start))
    errors = np.sqrt(np.diag(variance * np.linalg.pinv(found.jac.T @ found.jac)))
    return RateRule(
        rate=float(2 ** found.x[0]), at={n: at[n] for n in names},
        powers=dict(zip(names, map(float, found.x[2 + grows :]), strict=True)),
        errors=dict(zip(names, map(float, errors[2 + grows :]), strict=True))
        | {"rate": float(np.log(2) * errors[0])},
        curvature_nats=float(found.x[1]), curvature_growth_nats=growth,
        residual_nats=float(np.sqrt(variance)), runs=len(runs), anchors=len(used),
    )  # fmt: skip


def _told_apart(used: Sequence[Anchor], at: dict[str, float]) -> list[str]:
    """The factors whose powers the anchors can tell: each varies otherwise than those before it."""
    names: list[str] = []
    columns = [np.ones(len(used))]
    for name in at:
        column = np.array([np.log(getattr(anchor, name) / at[name]) for anchor in used])
        if np.linalg.matrix_rank(np.array([*columns, column]), tol=1e-6) > len(columns):
            names.append(name)
            columns.append(column)
    return names


def regret_nats(anchor: Anchor, rate: float) -> float | None:
    """By how much an anchor's loss at a rate is above its lowest, by its own parabola; None without one."""
    found = anchor.parabola()
    return None if found is None else found[2] * (np.log2(rate) - found[0]) ** 2


def by_batch(given: Sequence[Anchor]) -> list[dict[str, Any]]:
    """Where a model was trained with several batches: what the larger costs, each at its best rate tried.

    Seeds that both were trained with are compared. Keys: compute_flops, width, sparsity, smaller and larger
    (tokens), cost_nats, bracketed (whether the best rate of both is).
    """
    groups: dict[Any, list[Anchor]] = defaultdict(list)
    for a in given:
        groups[(float(f"{a.compute_flops:.1e}"), a.width, a.sparsity, a.params, a.recipe)].append(a)
    found = []
    for (budget, width, sparsity, *_), members in groups.items():
        members = sorted(members, key=lambda a: a.batch_tokens)
        for pair in zip(members, members[1:], strict=False):
            common = set.intersection(*({seed for _, seed, _ in member.points} for member in pair))
            if not common:
                continue
            small, large = (member.with_seeds(common) for member in pair)
            found.append(
                {"compute_flops": budget, "width": width, "sparsity": sparsity,
                 "smaller": small.batch_tokens, "larger": large.batch_tokens,
                 "cost_nats": min(large.losses_nats) - min(small.losses_nats),
                 "bracketed": small.bracketed and large.bracketed}
            )  # fmt: skip
    return found


def gains(
    given: Sequence[Anchor], rule: RateRule, rate_of: Callable[[Anchor], float], factors: Sequence[float]
) -> list[dict[str, Any]]:
    """What sparsity gains if every rate is `factor` times that of a study: is a wrong rate a wrong answer?

    For each budget, width, batch and recipe with several sparsities: the loss of each below that of the least
    sparse, {sparsity: gain_nats}, by the parabolas of the rule, which share what single runs cannot tell.
    rate_of: the study's rate of an anchor.
    """
    groups: dict[Any, list[Anchor]] = defaultdict(list)
    for a in given:
        if len(a.rates) > 1:
            groups[(float(f"{a.compute_flops:.1e}"), a.width, a.batch_tokens, a.recipe)].append(a)
    found = []
    for (budget, width, batch, _), members in groups.items():
        if len(members) < 2:
            continue
        for factor in factors:
            losses = {a.sparsity: rule.loss_nats(a, factor * rate_of(a)) for a in members}
            base = losses[min(losses)]
            found.append({"compute_flops": budget, "width": width, "batch_tokens": batch, "factor": factor,
                          "gain_nats": {s: base - loss for s, loss in sorted(losses.items())}})  # fmt: skip
    return found
