"""Every law is the same, but for rounding, where powers of its columns are taken by logarithms."""

from pathlib import Path

import numpy as np
import pytest

from moebook import laws
from moebook.bayes import Posterior
from moebook.laws.powers import Positive


@pytest.mark.parametrize("name", laws.names())
def test_a_law_of_positive_columns_is_the_law(name):
    law, rng = laws.get(name), np.random.default_rng(0)
    ends = {"sparsity": (0.1, 0.9), "E_start": (0.01, 0.05), "A_start": (0.01, 0.05), "experts": (2, 64)}
    ends |= {"E_max": (1e3, 1e4), "A_max": (1e3, 1e4), "granularity": (1, 16)}
    columns = [rng.uniform(*ends.get(column, (0.5, 50)), 40) for column in law.columns]
    coefficients = {k: rng.uniform(*ends.get(k, (0.2, 1.2)), (7, 1)) for k in law.coefficients}
    fast = law(coefficients, *(column.view(Positive) for column in columns))
    assert np.isfinite(fast).all()
    assert np.asarray(fast) == pytest.approx(law(coefficients, *columns), rel=1e-12)


def test_a_square_of_what_is_negative_stays_a_square():
    assert (np.array([-2.0, 3.0]).view(Positive) ** 2).tolist() == [4.0, 9.0]


def test_columns_of_fewer_points_broadcast_over_the_surface():
    """Points of a grid are the points one by one, the misfit among them."""
    posterior = Posterior.load(Path(__file__).parents[2] / "runs" / "posteriors" / "packages")
    params, tokens, sparsity = np.geomspace(1e4, 1e6, 3)[None, :], 2e6, np.array([0, 3 / 4])[:, None]
    surface = posterior.surface(params, tokens, sparsity)(slice(0, 5))
    assert surface.shape == (5, 2, 3)
    for row, s in enumerate(sparsity[:, 0]):
        for column, n in enumerate(params[0]):
            one = posterior.surface(n, tokens, s)(slice(0, 5))
            assert one.ravel() == pytest.approx(surface[:, row, column], rel=1e-12)
    totals = {name: values[:5, None] for name, values in posterior.totals().items()}
    law = posterior.law.at(posterior.units)
    in_units = law.in_units(posterior.units, *np.broadcast_arrays(params, tokens, sparsity))
    plain = law(law.from_totals(totals), *(column.ravel() for column in in_units))
    bare = posterior.surface(params, tokens, sparsity, discrepancy=False)(slice(0, 5))
    assert bare.reshape(5, -1) == pytest.approx(plain, rel=1e-12)
