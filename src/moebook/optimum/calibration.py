"""The best sparsity as a quantity that calibration ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moebook.architecture import Family
from moebook.bayes import Posterior
from moebook.bayes.data import Rows
from moebook.laws import Law
from moebook.optimum.best import SPARSITY_POINTS, WIDTH_POINTS, size_profile
from moebook.optimum.grid import fitted_span, free_size_grid
from moebook.optimum.minimum import lowest

#: Budgets at which S* is ranked, as multiples of the largest of the design.
TIMES = (0.3, 1.0, 10.0)


@dataclass(frozen=True)
class BestSparsity:
    """-log(1 - S*(C)), and the log loss there, at multiples of the design's largest budget.

    S* is looked for on the grid of `optimum`, which ends at S = 0 and at the design's largest sparsity: draws
    whose optimum is an end tie, with each other and perhaps with the truth. Ranks break ties at random.
    """

    family: Family = Family()
    times: tuple[float, ...] = TIMES
    sparsity_points: int = SPARSITY_POINTS
    width_points: int = WIDTH_POINTS

    def __call__(self, posterior: Posterior) -> dict[str, np.ndarray]:
        """{name: [draws]}."""
        fitted = fitted_span(posterior, self.family)
        slack = np.linspace(0.0, -np.log1p(-fitted.sparsities[-1]), self.sparsity_points)
        sparsity = -np.expm1(-slack)
        found = {}
        for times in self.times:
            compute_flops = times * fitted.compute_flops[1]
            grid = free_size_grid(compute_flops, sparsity, fitted.widths, self.family, self.width_points)
            best = lowest(slack, size_profile(posterior, grid)[0])
            found[f"-log(1 - S*), {times:g} x the budget"] = best.at
            found[f"log loss at S*, {times:g} x the budget"] = np.log(best.value)
        return found


def best_sparsity(law: Law, rows: Rows) -> tuple[BestSparsity, ...]:
    """What to rank beside the law's own quantities: S* where the law and the design choose a sparsity."""
    if not {"params", "tokens", "sparsity"} <= set(law.columns) or np.ptp(rows.columns["sparsity"]) == 0:
        return ()
    return (BestSparsity(),)
