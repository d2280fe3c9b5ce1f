"""What models can do beside their loss, and whether sparsity changes it at equal loss (Abnar et al. 2025).

Stands on runs and, for tables of others, on the readers of bayes; knows no law and no optimum.

>>> found = common_scores(Store("runs"), load_table("runs", "english"))
>>> effect = at_equal_loss(found.runs, "words_seen", items=found.items["words_seen"])
>>> effect.quantile(0.05), effect.quantile(0.95), effect.below(0.0)  # of a doubling of E/K
"""

from moebook.downstream.common import SCORES, CommonScores, Score, common_scores
from moebook.downstream.equal_loss import BESIDE, Effect, at_equal_loss, doublings
from moebook.downstream.reading import read_scores
from moebook.downstream.regression import Coefficient, regress

__all__ = [
    "BESIDE", "SCORES", "Coefficient", "CommonScores", "Effect", "Score", "at_equal_loss", "common_scores",
    "doublings", "read_scores", "regress",
]  # fmt: skip
