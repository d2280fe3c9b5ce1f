"""Tian et al. 2025, "Towards Greater Leverage: Scaling Laws for Efficient MoE" (arXiv 2507.17702).

The source predicts no loss but the efficiency leverage EL = C_dense / C_moe, the factor by which a dense
model needs more training compute for the same loss:

EL(C, A, G) = Â^(alpha + gamma (log2 G)^2 + beta log2 G), alpha = a + d log10 C,
1/Â = 1/(A + (1/A_start - 1/A_max)^-1) + 1/A_max,

with A = K / E = 1 - S the share of experts that a token uses, G the granularity (an expert's hidden width is
the dense feed-forward's over G) and C the MoE's training FLOPs. A dense model, A = G = 1, has EL within a
few percent of 1: the fit of the source does not force it.

`leverage` is that, as it stands. The law of loss here is what EL means by its definition: an MoE's loss at C
is a dense model's at C EL, and a dense model's at its best size for C is floor + scale / C^kappa, which is
exact where the loss is Chinchilla's E + A/N^alpha + B/D^beta and C = 6 N D. What counts as published here
takes floor, scale and kappa from the corrected fit of that law, on another corpus than the source's: a
stand-in, to be fitted. Runs must be near the best size for their compute, or the law does not speak of them.

Identified: the loss at the rows' geometric means C0, A0 and G0, the share of it that is floor, kappa, and the
power of Â there with its slopes. a, beta and A_max are not: a is the power at C = 1, and A_max lies beyond 1.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.arithmetic import log2, log10, saturated
from moebook.laws.chinchilla import CHINCHILLA
from moebook.laws.law import Coefficients, Law
from moebook.laws.prior import Prior

PUBLISHED_LEVERAGE = {
    "a": 1.23,
    "d": -0.0761,
    "gamma": 0.0167,
    "beta": -0.117,
    "A_start": 0.0163,
    "A_max": 5.28e16,
}


def leverage(coefficients: Coefficients, compute_flops: Any, sparsity: Any, granularity: Any) -> Any:
    """EL, a ratio of FLOPs, at C = compute_flops, S = sparsity in [0, 1), G = granularity >= 1."""
    k = coefficients
    used = saturated(1 - sparsity, k["A_start"], k["A_max"])
    return used ** _power(k, log10(compute_flops), log2(granularity))


def loss(coefficients: Coefficients, compute_flops: Any, sparsity: Any, granularity: Any) -> Any:
    """L in nats per token of a model of the best size for C = compute_flops, at S and G."""
    k = coefficients
    worth = compute_flops * leverage(k, compute_flops, sparsity, granularity)
    return k["floor"] + k["scale"] * worth ** (-k["kappa"])


def dense_frontier(coefficients: Coefficients) -> dict[str, float]:
    """floor, scale and kappa of the least loss that Chinchilla's law allows for C = 6 N D.

    With N = t (C/6)^(beta / (alpha + beta)) both terms fall as (C/6)^-kappa; t balances their slopes.
    """
    k = coefficients
    both = k["alpha"] + k["beta"]
    kappa = k["alpha"] * k["beta"] / both
    t = (k["alpha"] * k["A"] / (k["beta"] * k["B"])) ** (1 / both)
    scale = (k["A"] * t ** (-k["alpha"]) + k["B"] * t ** k["beta"]) * 6**kappa
    return {"floor": k["E"], "scale": scale, "kappa": kappa}


def _power(k: Coefficients, decades: Any, doublings: Any) -> Any:
    """The power of Â at log10 C = decades, log2 G = doublings."""
    return k["a"] + k["d"] * decades + k["gamma"] * doublings * doublings + k["beta"] * doublings


def from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """Coefficients from what the data identify.

    level = L at C0, A0 and G0; floor_share of it is the floor; kappa. leverage_exponent = minus the power of
    Â at C0 and G0, granularity_slope the change of that power by doubling of G there; d, gamma, A_start, and
    A_max_excess = A_max / A_start - 1.
    """
    t = totals
    decades, doublings = log10(units["compute_flops"]), log2(units["granularity"])
    beta = t["granularity_slope"] - 2 * t["gamma"] * doublings
    shape = {
        "a": -t["leverage_exponent"] - t["d"] * decades - (t["gamma"] * doublings + beta) * doublings,
        "d": t["d"],
        "gamma": t["gamma"],
        "beta": beta,
        "A_start": t["A_start"],
        "A_max": t["A_start"] * (1 + t["A_max_excess"]),
    }
    worth = units["compute_flops"] * _leverage_at(shape, units)
    scale = t["level"] * (1 - t["floor_share"]) * worth ** t["kappa"]
    return {"floor": t["level"] * t["floor_share"], "scale": scale, "kappa": t["kappa"], **shape}


def to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of from_totals."""
    k = coefficients
    decades, doublings = log10(units["compute_flops"]), log2(units["granularity"])
    worth = units["compute_flops"] * _leverage_at(k, units)
    level = k["floor"] + k["scale"] * worth ** (-k["kappa"])
    return {
        "level": level,
        "floor_share": k["floor"] / level,
        "kappa": k["kappa"],
        "leverage_exponent": -_power(k, decades, doublings),
        "granularity_slope": k["beta"] + 2 * k["gamma"] * doublings,
        "d": k["d"],
        "gamma": k["gamma"],
        "A_start": k["A_start"],
        "A_max_excess": k["A_max"] / k["A_start"] - 1,
    }


def _leverage_at(k: Coefficients, units: Coefficients) -> Any:
    return leverage(k, units["compute_flops"], 1 - units["used"], units["granularity"])


_PRIORS = {
    "level": Prior("lognormal", 1.0, 0.3, "geometric mean loss of the rows", "as for every law"),
    "floor_share": Prior("logitnormal", 0.5, 1.0, "level", "floor and the rest alike until seen"),
    "kappa": Prior("lognormal", 0.15, 0.5, "", "half of an exponent of size or data"),
    "leverage_exponent": Prior("normal", 0.5, 0.3, "", "idle experts save compute, as a rule"),
    "granularity_slope": Prior("normal", 0.0, 0.1, "a doubling of G", "of either sign"),
    "d": Prior("normal", 0.0, 0.1, "a decade of C", "of either sign; -.08 as published"),
    "gamma": Prior("normal", 0.0, 0.03, "a doubling of G, squared", "of either sign; .02 as published"),
    "A_start": Prior("lognormal", 0.02, 1.0, "share of experts", "one expert of fifty"),
    "A_max_excess": Prior("lognormal", 1e4, 3.0, "A_start", "far above 1: shares do not saturate"),
}

TIAN = Law(
    name="tian",
    title="Tian et al. 2025, leverage on a dense law of compute",
    source="arXiv 2507.17702 (leverage); dense law: compute-optimal frontier of arXiv 2404.10102",
    columns=("compute_flops", "sparsity", "granularity"),
    coefficients=("floor", "scale", "kappa", *PUBLISHED_LEVERAGE),
    function=loss,
    published={**dense_frontier(CHINCHILLA.published), **PUBLISHED_LEVERAGE},
    power_of={},
    totals=tuple(_PRIORS),
    from_totals=from_totals,
    to_totals=to_totals,
    by_units=True,
    priors=_PRIORS,
    helpers=(log10,),
)
