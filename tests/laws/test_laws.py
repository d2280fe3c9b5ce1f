"""The laws against printed values, exact derivatives, and changes of unit."""

import mpmath
import numpy as np
import pytest

from moebook import laws
from moebook.errors import InputError

COLUMNS = {"params": 3.7e7, "tokens": 2.1e9, "sparsity": 0.875}


@pytest.mark.parametrize(
    ("params", "tokens", "sparsity", "loss_nats"),
    [(1e9, 2e10, 0.0, 2.5657), (1e10, 2e10, 0.98, 2.4800), (1e10, 2e10, 0.9, 2.3669)],
)
def test_abnar_gives_the_values_of_the_paper(params, tokens, sparsity, loss_nats):
    law = laws.get("abnar")
    assert law(law.published, params, tokens, sparsity) == pytest.approx(loss_nats, abs=5e-5)


def test_chinchilla_by_hand():
    law = laws.get("chinchilla")
    by_hand = 1.8172 + 482.01 / 7e10**0.3478 + 2085.43 / 1.4e12**0.3658
    assert law(law.published, 7e10, 1.4e12) == pytest.approx(by_hand, rel=1e-14)


def test_unknown_law_lists_the_known():
    with pytest.raises(InputError, match="kaplan.*abnar, chinchilla"):
        laws.get("kaplan")


@pytest.mark.parametrize("name", laws.names())
def test_gradient_against_central_differences(name):
    """Central differences at 60 digits, so that 1e-9 is a statement about the law and not about rounding."""
    law = laws.get(name)
    columns = [COLUMNS[column] for column in law.columns]
    gradient = law.gradient(law.published, *columns)
    with mpmath.workdps(60):
        exact = {key: mpmath.mpf(value) for key, value in law.published.items()}
        for key in law.coefficients:
            step = exact[key] * mpmath.mpf(10) ** -20
            up = law({**exact, key: exact[key] + step}, *map(mpmath.mpf, columns))
            down = law({**exact, key: exact[key] - step}, *map(mpmath.mpf, columns))
            difference = (up - down) / (2 * step)
            assert gradient[key] == pytest.approx(float(difference), rel=1e-9), key


@pytest.mark.parametrize("name", laws.names())
def test_pytensor_runs_the_same_definition(name):
    pytest.importorskip("moebook.bayes")
    import pytensor
    import pytensor.tensor as pt

    import moebook.bayes._environment  # noqa: F401

    law = laws.get(name)
    columns = [np.float64(COLUMNS[column]) for column in law.columns]
    variables = {key: pt.dscalar(key) for key in law.coefficients}
    loss = law(variables, *columns)
    outputs = [loss, *pytensor.grad(loss, list(variables.values()))]
    function = pytensor.function(list(variables.values()), outputs, mode="FAST_COMPILE")
    value, *gradient = function(*(law.published[key] for key in law.coefficients))
    assert value == pytest.approx(law(law.published, *columns), rel=1e-13)
    exact = law.gradient(law.published, *columns)
    for key, slope in zip(law.coefficients, gradient, strict=True):
        assert slope == pytest.approx(exact[key], rel=1e-9), key


@pytest.mark.parametrize("name", laws.names())
def test_totals_and_units_agree_with_raw_coefficients(name):
    """A law in totals, on columns in the data's units, is the law in raw coefficients on plain columns."""
    law = laws.get(name)
    rng = np.random.default_rng(5)
    data = {
        "params": 10 ** rng.uniform(4, 6, 9),
        "tokens": 10 ** rng.uniform(6, 8, 9),
        "sparsity": rng.random(9),
    }
    columns = [data[column] for column in law.columns]
    centred = law.from_totals({key: rng.uniform(0.2, 0.8) for key in law.totals})
    units = law.units(*columns)
    expected = law(centred, *law.in_units(units, *columns))
    assert law(law.rescale(centred, units), *columns) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", laws.names())
def test_level_is_the_loss_at_the_centre(name):
    law = laws.get(name)
    totals = {key: 0.4 for key in law.totals}
    centre = {"params": 1.0, "tokens": 1.0, "sparsity": 0.0}
    assert law(law.from_totals(totals), *(centre[column] for column in law.columns)) == pytest.approx(0.4)


def test_units_are_geometric_means():
    units = laws.get("abnar").units([1e3, 1e5], [1e6, 1e6], [0.0, 0.75])
    assert units == pytest.approx({"params": 1e4, "tokens": 1e6, "used": 0.5})


def test_columns_and_coefficients_broadcast():
    law = laws.get("abnar")
    draws = {key: np.full((7, 1), value) for key, value in law.published.items()}
    assert law(draws, np.full(3, 1e9), np.full(3, 2e10), np.array([0, 0.5, 0.9])).shape == (7, 3)
