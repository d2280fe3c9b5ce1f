"""What the losses of runs would have been at another learning rate, by the rule of a tuning study.

A run's loss is above its lowest by k (log2 eta - log2 eta*)^2 (see `moebook.study.tuning`). So at `factor`
times its rate it changes by k [(log2 factor + x)^2 - x^2], x = log2(eta / eta*). Both k and eta* are the
rule's, for the run's own N, D, S and B: beyond what was tuned they are extrapolated.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from moebook.study.tuning import RateRule

if TYPE_CHECKING:
    import pandas


def best_rates(rule: RateRule, table: pandas.DataFrame) -> np.ndarray:
    """The rule's rate of each row of a run table, as a recipe's `learning_rate` [rows].

    table: columns sparsity, params, tokens and batch_tokens (tokens).
    """
    return rule(_cells(table)) * np.ones(len(table))


def changes_nats(rule: RateRule, table: pandas.DataFrame, factor: float) -> np.ndarray:
    """By how much the loss of each row of a run table would change at `factor` times its rate, nats [rows].

    table: as for `best_rates`, and learning_rate (of the recipe).
    """
    curvature = rule.curvature(_cells(table))
    off = np.log2(table["learning_rate"].to_numpy(float) / best_rates(rule, table))
    return curvature * ((np.log2(factor) + off) ** 2 - off**2)


def _cells(table: pandas.DataFrame) -> SimpleNamespace:
    """The rows of a run table as the rule sees an anchor, each factor an array [rows]."""
    names = ("params", "tokens", "batch_tokens")
    factors = {name: table[name].to_numpy(float) for name in names}
    return SimpleNamespace(unsparsity=1 - table["sparsity"].to_numpy(float), **factors)
