"""What the tests of the laws share: one run to evaluate at, many runs, and coefficients for every law."""

import numpy as np
import pytest

# One run under every column that a law reads.
ONE_RUN = {
    "params": 3.7e7,
    "params_active": 9.1e6,
    "tokens": 2.1e9,
    "sparsity": 0.875,
    "experts": 24.0,
    "granularity": 3.0,
    "compute_flops": 4.4e17,
}


@pytest.fixture
def one_run():
    return dict(ONE_RUN)


@pytest.fixture
def many_runs():
    rng = np.random.default_rng(5)
    return {
        "params": 10 ** rng.uniform(4, 6, 9),
        "params_active": 10 ** rng.uniform(4, 6, 9),
        "tokens": 10 ** rng.uniform(6, 8, 9),
        "sparsity": rng.uniform(0, 0.97, 9),
        "experts": 2.0 ** rng.integers(0, 8, 9),
        "granularity": 2.0 ** rng.integers(0, 4, 9),
        "compute_flops": 10 ** rng.uniform(12, 15, 9),
    }


@pytest.fixture
def coefficients_of():
    """law -> coefficients to evaluate it with: the published, else the prior's medians about ONE_RUN."""

    def find(law):
        if law.published:
            return dict(law.published)
        units = law.units(*([ONE_RUN[name]] for name in law.columns))
        totals = {name: prior.at(0.3) for name, prior in law.priors.items()}
        return {k: float(v) for k, v in law.plain_coefficients({**totals, "level": 2.5}, units).items()}

    return find
