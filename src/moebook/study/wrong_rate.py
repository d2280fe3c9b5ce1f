"""What the losses of runs would have been at another learning rate, by the rule of a tuning study.

A run's loss is above its lowest by k (log2 eta - log2 eta*)^2 (see `moebook.study.tuning`). So at `factor`
times its rate it changes by k [(log2 factor + x)^2 - x^2], x = log2(eta / eta*). Both k and eta* are the
rule's, for the run's own N, D, S and B: beyond what was tuned they are extrapolated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebook.study.tuning import RateRule

if TYPE_CHECKING:
    import pandas


def best_rates(rule: RateRule, table: pandas.DataFrame) -> np.ndarray:
    """The rule's rate of each row of a run table, as a recipe's `learning_rate` [rows].

    table: columns sparsity, params, tokens and batch_tokens (tokens).
    """
    factors = {
        "unsparsity": 1 - table["sparsity"].to_numpy(float), "params": table["params"].to_numpy(float),
        "tokens": table["tokens"].to_numpy(float), "batch_tokens": table["batch_tokens"].to_numpy(float),
    }  # fmt: skip
    moved = sum(power * np.log2(factors[name] / rule.at[name]) for name, power in rule.powers.items())
    return rule.rate * 2**moved


def changes_nats(rule: RateRule, table: pandas.DataFrame, factor: float) -> np.ndarray:
    """By how much the loss of each row of a run table would change at `factor` times its rate, nats [rows].

    table: as for `best_rates`, and learning_rate (of the recipe).
    """
    unsparsity = 1 - table["sparsity"].to_numpy(float)
    curvature = rule.curvature_nats - rule.curvature_growth_nats * np.log2(unsparsity)
    off = np.log2(table["learning_rate"].to_numpy(float) / best_rates(rule, table))
    return curvature * ((np.log2(factor) + off) ** 2 - off**2)
