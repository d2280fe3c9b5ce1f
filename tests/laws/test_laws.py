"""The laws against printed values, exact derivatives, and changes of unit."""

import mpmath
import numpy as np
import pytest

from moebook import laws
from moebook.errors import InputError


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
def test_gradient_against_central_differences(name, one_run, coefficients_of):
    """Central differences at 60 digits, so that 1e-9 is a statement about the law and not about rounding."""
    law = laws.get(name)
    coefficients = coefficients_of(law)
    columns = [one_run[column] for column in law.columns]
    gradient = law.gradient(coefficients, *columns)
    with mpmath.workdps(60):
        exact = {key: mpmath.mpf(value) for key, value in coefficients.items()}
        for key in law.coefficients:
            step = exact[key] * mpmath.mpf(10) ** -20
            up = law({**exact, key: exact[key] + step}, *map(mpmath.mpf, columns))
            down = law({**exact, key: exact[key] - step}, *map(mpmath.mpf, columns))
            difference = (up - down) / (2 * step)
            assert gradient[key] == pytest.approx(float(difference), rel=1e-9), key


@pytest.mark.parametrize("name", laws.names())
def test_pytensor_runs_the_same_definition(name, one_run, coefficients_of):
    """The loss and its slopes, from coefficients and from totals, compiled and in numpy."""
    pytest.importorskip("moebook.bayes")
    import pytensor
    import pytensor.tensor as pt

    import moebook.bayes._environment  # noqa: F401

    law, coefficients = laws.get(name), coefficients_of(laws.get(name))
    columns = [np.float64(one_run[column]) for column in law.columns]
    variables = {key: pt.dscalar(key) for key in law.coefficients}
    loss = law(variables, *columns)
    outputs = [loss, *pytensor.grad(loss, list(variables.values()))]
    function = pytensor.function(list(variables.values()), outputs, mode="FAST_COMPILE")
    value, *gradient = function(*(coefficients[key] for key in law.coefficients))
    assert value == pytest.approx(law(coefficients, *columns), rel=1e-13)
    exact = law.gradient(coefficients, *columns)
    for key, slope in zip(law.coefficients, gradient, strict=True):
        assert slope == pytest.approx(exact[key], rel=1e-9), key

    units = {"used": 0.4, **{column: 0.5 * one_run[column] for column in law.columns}}
    bound = law.at(units)
    symbols = {key: pt.dscalar(key) for key in law.totals}
    compiled = pytensor.function(
        list(symbols.values()),
        bound(bound.from_totals(symbols), *bound.in_units(units, *columns)),
        mode="FAST_COMPILE",
    )
    values = {key: 0.4 for key in law.totals}
    expected = law(law.plain_coefficients(values, units), *columns)
    assert compiled(*values.values()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", laws.names())
def test_totals_and_units_agree_with_raw_coefficients(name, many_runs):
    """A law in totals, on columns in the data's units, is the law in raw coefficients on plain columns."""
    law = laws.get(name)
    rng = np.random.default_rng(6)
    columns = [many_runs[column] for column in law.columns]
    units = law.units(*columns)
    bound = law.at(units)
    totals = {key: rng.uniform(0.2, 0.8) for key in law.totals}
    centred = bound.from_totals(totals)
    expected = bound(centred, *bound.in_units(units, *columns))
    plain = law.plain_coefficients(totals, units)
    assert set(plain) == set(law.coefficients)
    assert bound.rescale(centred, units) == pytest.approx(plain)
    assert law(plain, *columns) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in laws.names() if laws.get(name).to_totals])
def test_totals_go_to_coefficients_and_back(name, many_runs, coefficients_of):
    law = laws.get(name)
    units = law.units(*(many_runs[column] for column in law.columns))
    totals = dict(zip(law.totals, np.linspace(0.1, 0.9, len(law.totals)), strict=True))
    assert law.totals_at(law.plain_coefficients(totals, units), units) == pytest.approx(totals, rel=1e-9)
    coefficients = coefficients_of(law)
    again = law.plain_coefficients(law.totals_at(coefficients, units), units)
    assert again == pytest.approx(coefficients, rel=1e-8)


@pytest.mark.parametrize("name", laws.names())
def test_level_is_the_loss_at_the_centre(name, many_runs):
    law = laws.get(name)
    units = law.units(*(many_runs[column] for column in law.columns))
    plain = law.plain_coefficients({key: 0.4 for key in law.totals}, units)
    assert law(plain, *law.centre(units)) == pytest.approx(0.4)


def test_units_are_geometric_means():
    units = laws.get("abnar").units([1e3, 1e5], [1e6, 1e6], [0.0, 0.75])
    assert units == pytest.approx({"params": 1e4, "tokens": 1e6, "used": 0.5})


@pytest.mark.parametrize("name", laws.names())
def test_columns_and_coefficients_broadcast(name, many_runs, coefficients_of):
    law = laws.get(name)
    draws = {key: np.full((7, 1), value) for key, value in coefficients_of(law).items()}
    columns = [many_runs[column] for column in law.columns]
    assert law(draws, *columns).shape == (7, 9)


@pytest.mark.parametrize("name", [name for name in laws.names() if laws.get(name).priors])
def test_draws_from_the_priors_are_losses_that_could_be(name, many_runs):
    """Finite, positive, and centred on the rows' loss: within a factor of five for nearly every draw."""
    law = laws.get(name)
    columns = [many_runs[column] for column in law.columns]
    units = law.units(*columns)
    normal = np.random.default_rng(0).standard_normal((len(law.totals), 400, 1))
    totals = {key: law.priors[key].at(z) for key, z in zip(law.totals, normal, strict=True)}
    drawn = law(law.plain_coefficients({**totals, "level": 2.5 * totals["level"]}, units), *columns)
    assert np.isfinite(drawn).all()
    assert np.mean((drawn > 0.5) & (drawn < 12.5)) > 0.95
    assert np.median(drawn) == pytest.approx(2.5, rel=0.15)


def test_priors_are_normal_where_they_say():
    z = np.array([-2.0, 0.0, 1.0])
    assert laws.Prior("normal", 3.0, 0.5).at(z) == pytest.approx([2.0, 3.0, 3.5])
    assert laws.Prior("lognormal", 3.0, 0.5).at(z) == pytest.approx(3 * np.exp(0.5 * z))
    share = laws.Prior("logitnormal", 0.2, 1.0)
    assert share.value(share.free(share.at(z))) == pytest.approx(share.at(z))
    assert share.at(0.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "arguments",
    [("cauchy", 1.0, 1.0), ("normal", 1.0, 0.0), ("lognormal", -1.0, 1.0), ("logitnormal", 2.0, 1.0)],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_prior_that_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match="prior: "):
        laws.Prior(*arguments)


def test_the_files_of_a_law_are_all_that_define_it():
    assert [path.name for path in laws.get("abnar").files()] == ["abnar.py"]
    assert [path.name for path in laws.get("clark").files()] == ["clark.py", "arithmetic.py"]
