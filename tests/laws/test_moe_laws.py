"""Laws of routed models: printed values, limits in which they are other laws, and which way they move."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from moebook import laws
from moebook.laws.arithmetic import saturated
from moebook.laws.clark import PUBLISHED, effective_experts
from moebook.laws.tian import PUBLISHED_LEVERAGE, dense_frontier, leverage

MANY = 2.0 ** np.arange(0, 12)


def falls(values):
    return np.all(np.diff(values) < 0)


def test_saturation_has_its_limits_and_is_the_identity_between():
    assert saturated(0.0, 1.8, 314.0) == pytest.approx(1.8, rel=1e-14)
    assert saturated(1e12, 1.8, 314.0) == pytest.approx(314.0, rel=1e-9)
    assert saturated(63.0, 1.0, 1e12) == pytest.approx(64.0, rel=1e-9)
    assert np.all(np.diff(saturated(MANY, 1.8, 314.0)) > 0)


# Losses of the published coefficients, worked out by hand: log10 N, then Ê, then the plane.
def test_clark_by_hand():
    k = PUBLISHED["S-Base"]
    effective = 1 / (1 / (63 + 1 / (1 / 1.847 - 1 / 314.478)) + 1 / 314.478)
    x, y = np.log10(1.3e9), np.log10(effective)
    by_hand = 10 ** (-0.082 * x - 0.108 * y + 0.009 * x * y + 1.104)
    assert laws.get("clark")(k, 1.3e9, 64.0) == pytest.approx(by_hand, rel=1e-14)


@pytest.mark.parametrize("router", PUBLISHED)
def test_clark_without_experts_is_a_power_law_in_size(router):
    k, size = PUBLISHED[router], 10 ** np.linspace(7, 10, 7)
    slopes = np.diff(np.log(laws.get("clark")(k, size, 1.0))) / np.diff(np.log(size))
    assert slopes == pytest.approx(np.full(6, k["a"] + k["c"] * np.log10(k["E_start"])), rel=1e-9)
    assert effective_experts(k, 1.0) == pytest.approx(k["E_start"])


@pytest.mark.parametrize("router", PUBLISHED)
def test_clark_falls_with_size_and_with_experts_and_helps_large_models_less(router):
    law, k = laws.get("clark"), PUBLISHED[router]
    assert falls(law(k, 1e8, MANY)) and falls(law(k, 10 ** np.linspace(7, 9, 9), 64.0))
    gain = np.log(law(k, np.array([1e7, 1e9]), 1.0) / law(k, np.array([1e7, 1e9]), 128.0))
    assert 0 < gain[1] < gain[0]
    last = law(k, 1e8, np.array([1e6, 1e7]))
    assert last[0] == pytest.approx(last[1], rel=1e-4), "beyond E_max more experts do nothing"


def test_clark_reduces_to_its_restrictions():
    """Saturation pushed out of sight leaves the bilinear form; a twist of zero the separable one."""
    k = {**PUBLISHED["Hash"], "E_start": 1.0, "E_max": 1e13}
    sizes = np.array([1e7, 1e8, 1e9])[:, None]
    plain = {name: k[name] for name in "abcd"}
    bilinear = laws.get("clark-bilinear")(plain, sizes, MANY)
    assert laws.get("clark")(k, sizes, MANY) == pytest.approx(bilinear, rel=1e-9)
    flat = {name: k[name] for name in "abd"}
    separable = laws.get("clark-separable")(flat, sizes, MANY)
    assert laws.get("clark-bilinear")({**plain, "c": 0.0}, sizes, MANY) == pytest.approx(separable, rel=1e-14)
    ratio = separable[:, 3] / separable[:, 0]
    assert ratio == pytest.approx(np.full(3, ratio[0])), "experts help every size alike"


def test_clark_near_its_own_runs(shared):
    """Rounding to three decimals costs the printed coefficients more than their fit's residuals, .003."""
    import pandas as pd

    runs = pd.read_csv(shared / "data" / "clark2022" / "final_step.csv").set_index("hyper_id")
    law = laws.get("clark")
    for router, k in PUBLISHED.items():
        rows = runs[(runs.router_type == router) & (runs.routing_frequency == 0.5) & (runs.k == 1)]
        predicted = law(k, rows.dense_parameter_count.to_numpy(), rows.num_experts.to_numpy(float))
        rmse = np.sqrt(np.mean(np.log10(predicted / rows.loss_validation) ** 2))
        assert 0.0035 < rmse < 0.01, router


def test_krajewski_by_hand():
    by_hand = 0.47 + (2.1 / 8**0.58 + 18.1) / 1e9**0.115 + 30.8 / 2e10**0.147
    law = laws.get("krajewski")
    assert law(law.published, 1e9, 2e10, 8.0) == pytest.approx(by_hand, rel=1e-14)


def test_krajewski_falls_with_everything_and_is_chinchilla_at_one_granularity():
    law = laws.get("krajewski")
    k = law.published
    assert falls(law(k, 1e9, 2e10, MANY)) and falls(law(k, 1e9 * MANY, 2e10, 4.0))
    assert falls(law(k, 1e9, 2e10 * MANY, 4.0))
    assert np.allclose(law(k, 1e9, 2e10, 1e9), law({**k, "g": 0.0}, 1e9, 2e10, 1.0), rtol=1e-5)
    size = k["g"] / 4 ** k["gamma"] + k["a"]
    chinchilla = {"E": k["c"], "A": size, "alpha": k["alpha"], "B": k["b"], "beta": k["beta"]}
    expected = laws.get("chinchilla")(chinchilla, 1e9 * MANY, 2e10)
    assert law(k, 1e9 * MANY, 2e10, 4.0) == pytest.approx(expected, rel=1e-14)


def test_ludziejewski_by_hand():
    law = laws.get("ludziejewski")
    effective = 1 / (1 / (7 + 1 / (1 / 2.0732 - 1 / 290.4521)) + 1 / 290.4521)
    e = np.log(effective)
    by_hand = (
        35.91 * effective**-0.2285 * 1e9 ** (-0.1889 + 0.0098 * e)
        + 35.98 * effective**0.5529 * 2e10 ** (-0.1775 - 0.0259 * e)
        + 1.3637
    )
    assert law(law.published, 1e9, 2e10, 8.0) == pytest.approx(by_hand, rel=1e-14)
    assert 2 < by_hand < 3


def test_ludziejewski_without_experts_is_chinchilla():
    law = laws.get("ludziejewski")
    k, sizes, tokens = law.published, 10 ** np.linspace(7, 10, 5)[:, None], 10 ** np.linspace(9, 12, 4)
    start, e = k["E_start"], np.log(k["E_start"])
    dense = {
        "E": k["c"],
        "A": k["a"] * start ** k["delta"],
        "alpha": -(k["alpha"] + k["gamma"] * e),
        "B": k["b"] * start ** k["omega"],
        "beta": -(k["beta"] + k["zeta"] * e),
    }
    assert law(k, sizes, tokens, 1.0) == pytest.approx(
        laws.get("chinchilla")(dense, sizes, tokens), rel=1e-12
    )


def test_ludziejewski_falls_with_size_tokens_and_experts():
    law = laws.get("ludziejewski")
    k = law.published
    assert falls(law(k, 1e9 * MANY, 2e10, 8.0)) and falls(law(k, 1e9, 2e10 * MANY, 8.0))
    assert falls(law(k, 1e9, 1e11, MANY[:7])), "experts help where tokens are many"
    gain = [np.log(law(k, 1e9, d, 1.0) / law(k, 1e9, d, 32.0)) for d in (2e9, 2e10, 2e11)]
    assert np.all(np.diff(gain) > 0), "the more so the more tokens"


def test_tian_gives_the_leverage_of_the_paper():
    assert leverage(PUBLISHED_LEVERAGE, 1e22, 1 - 0.031, 12.0) == pytest.approx(7.24, abs=0.02)


def test_leverage_of_a_dense_model_is_about_one_and_grows_with_idle_experts_and_compute():
    k = PUBLISHED_LEVERAGE
    assert leverage(k, 10 ** np.linspace(18, 24, 7), 0.0, 1.0) == pytest.approx(np.ones(7), abs=0.02)
    assert np.all(np.diff(leverage(k, 1e21, np.array([0, 0.5, 0.9, 0.97, 0.99]), 8.0)) > 0)
    assert np.all(np.diff(leverage(k, 10 ** np.linspace(18, 24, 7), 0.97, 8.0)) > 0)
    grain = np.linspace(1, 64, 2000)
    best = grain[np.argmax(leverage(k, 1e22, 0.97, grain))]
    assert best == pytest.approx(2 ** (0.117 / (2 * 0.0167)), rel=0.01), "the paper's best is 8 to 12"


def test_tian_as_a_loss_is_the_dense_loss_at_the_leveraged_compute():
    """C EL FLOPs of a dense model give what C give the MoE: EL by its definition."""
    law = laws.get("tian")
    k = {**law.published, "A_max": 1e30, "A_start": 1e-30}  # a dense model then has a leverage of 1 exactly
    worth = 1e20 * leverage(k, 1e20, 0.95, 1.0)
    assert worth > 2e20
    assert law(k, 1e20, 0.95, 1.0) == pytest.approx(law(k, worth, 0.0, 1.0), rel=1e-12)


@pytest.mark.parametrize("compute_flops", [1e18, 1e21, 1e24])
def test_the_dense_curve_is_the_frontier_of_chinchilla(compute_flops):
    """The closed form against a search for the best size."""
    law = laws.get("chinchilla")
    k, frontier = law.published, dense_frontier(law.published)
    found = minimize_scalar(
        lambda log_n: law(k, np.exp(log_n), compute_flops / (6 * np.exp(log_n))),
        bounds=(10, 40), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    closed = frontier["floor"] + frontier["scale"] * compute_flops ** -frontier["kappa"]
    assert closed == pytest.approx(found.fun, rel=1e-10)


def test_isoflop_totals_are_derivatives_at_the_centre():
    """Against differences in ln N and -ln(1 - S) of the surface that they make."""
    law = laws.get("isoflop")
    units = {"params": 3e7, "used": 0.2}
    totals = dict(zip(law.totals, (2.4, 0.02, 0.05, -0.03, 0.04, -0.02, 0.01), strict=True))
    k = law.plain_coefficients(totals, units)
    h = 1e-2

    def at(i, j):
        return law(k, 3e7 * np.exp(i * h), 1 - 0.2 * np.exp(-j * h)) / 2.4

    assert at(0, 0) == pytest.approx(1.0, rel=1e-12)
    assert (at(1, 0) - at(-1, 0)) / (2 * h) == pytest.approx(0.02, abs=1e-8)
    assert (at(0, 1) - at(0, -1)) / (2 * h) == pytest.approx(-0.03, abs=1e-8)
    assert (at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / h**2 == pytest.approx(0.05, abs=1e-6)
    assert (at(0, 1) - 2 * at(0, 0) + at(0, -1)) / h**2 == pytest.approx(0.04, abs=1e-6)
    crossed = at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)
    assert crossed / (4 * h**2) == pytest.approx(-0.02, abs=1e-5)


def test_isoflop_is_the_polynomial_of_the_paper():
    k = {"a1": -1.0, "a2": 0.03, "b1": 0.2, "b2": 0.05, "c1": -0.02, "c2": 1e-4, "d": 11.0}
    x, s = np.log(5e8), -np.log(1 - 0.9)
    by_hand = -x + 0.03 * x**2 + 0.2 * s + 0.05 * s**2 - 0.02 * x * s + 1e-4 * (x * s) ** 2 + 11
    assert laws.get("isoflop")(k, 5e8, 0.9) == pytest.approx(by_hand, rel=1e-14)
    dense = laws.get("isoflop")(k, np.exp(np.linspace(14, 20, 7)), 0.0)
    assert np.diff(dense, 3) == pytest.approx(np.zeros(4), abs=1e-11), "a parabola in log N where S = 0"
