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

__all__ = [
    "DIFFERS", "SAME_BITS", "WITHIN_MONTE_CARLO", "WITHIN_SEED_NOISE", "Comparison", "compare_estimate",
    "compare_run", "seed_deviation_nats", "tally", "worst",
]  # fmt: skip
