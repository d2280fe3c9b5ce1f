"""Make everything again, and say of each part how it compares with what is committed."""

from moebook.reproduce.compare import (
    DIFFERS,
    SAME_BITS,
    WITHIN_MONTE_CARLO,
    WITHIN_SEED_NOISE,
    Comparison,
    compare_estimate,
    compare_run,
    seed_deviation_nats,
    tally,
    worst,
)
from moebook.reproduce.stages import StageError, compare_posterior, refit, retrain

__all__ = [
    "DIFFERS", "SAME_BITS", "WITHIN_MONTE_CARLO", "WITHIN_SEED_NOISE", "Comparison", "StageError",
    "compare_estimate", "compare_posterior", "compare_run", "refit", "retrain", "seed_deviation_nats",
    "tally", "worst",
]  # fmt: skip
