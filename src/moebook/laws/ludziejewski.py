"""Ludziejewski et al. 2025, "Joint MoE Scaling Laws" (ICML 2025, arXiv 2502.05172).

L(N_a, D, E) = a Ê^delta N_a^(alpha + gamma ln Ê) + b Ê^omega D^(beta + zeta ln Ê) + c, in nats per token,
with N_a the parameters that one token uses, D training tokens, E experts in a layer of which one is used, and
Ê of Clark et al. 2022: 1/Ê = 1/(E - 1 + (1/E_start - 1/E_max)^-1) + 1/E_max. A dense model, E = 1, is
Chinchilla's law with exponents -(alpha + gamma ln E_start) and -(beta + zeta ln E_start).

Identified: each term is exp of a plane in logs with a twist, as in `clark`. With N0, D0 and E0 the rows'
geometric means and Ê0 = Ê(E0), the terms' sizes and slopes there are; a, delta, b and omega, at one parameter
and one token, are not. The slopes in Ê of the two terms are told apart only by runs that differ in N_a / D.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.arithmetic import log, saturated
from moebook.laws.law import Coefficients, Law
from moebook.laws.prior import Prior


def effective_experts(coefficients: Coefficients, experts: Any) -> Any:
    """Ê at E = experts >= 1: from E_start at E = 1 to E_max at very many."""
    return saturated(experts - 1, coefficients["E_start"], coefficients["E_max"])


def loss(coefficients: Coefficients, params_active: Any, tokens: Any, experts: Any) -> Any:
    """L in nats per token at N_a = params_active, D = tokens, E = experts."""
    k = coefficients
    effective = effective_experts(k, experts)
    return (
        k["a"] * effective ** k["delta"] * params_active ** (k["alpha"] + k["gamma"] * log(effective))
        + k["b"] * effective ** k["omega"] * tokens ** (k["beta"] + k["zeta"] * log(effective))
        + k["c"]
    )


def from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """Coefficients from what the data identify.

    level = L at N0, D0 and E0; data_share of it is the data term, floor_of_rest of the rest is c.
    size_exponent and data_exponent = minus the powers of N_a and D at E0; size_routing_exponent and
    data_routing_exponent = minus the powers of Ê, of the one term at N0 and of the other at D0; gamma, zeta;
    E_start, and E_max_excess = E_max / E_start - 1.
    """
    t = totals
    shape = {"E_start": t["E_start"], "E_max": t["E_start"] * (1 + t["E_max_excess"])}
    effective = effective_experts(shape, units["experts"])
    rest = t["level"] * (1 - t["data_share"])
    size = (rest * (1 - t["floor_of_rest"]), t["size_exponent"], t["size_routing_exponent"], t["gamma"])
    data = (t["level"] * t["data_share"], t["data_exponent"], t["data_routing_exponent"], t["zeta"])
    a, alpha, delta = _uncentred(*size, units["params_active"], effective)
    b, beta, omega = _uncentred(*data, units["tokens"], effective)
    return {
        "a": a,
        "alpha": alpha,
        "delta": delta,
        "gamma": t["gamma"],
        "b": b,
        "beta": beta,
        "omega": omega,
        "zeta": t["zeta"],
        "c": rest * t["floor_of_rest"],
        **shape,
    }


def to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of from_totals."""
    k = coefficients
    effective = effective_experts(k, units["experts"])
    size, size_exponent, size_routing_exponent = _centred(
        k["a"], k["alpha"], k["delta"], k["gamma"], units["params_active"], effective
    )
    data, data_exponent, data_routing_exponent = _centred(
        k["b"], k["beta"], k["omega"], k["zeta"], units["tokens"], effective
    )
    level = size + data + k["c"]
    return {
        "level": level,
        "data_share": data / level,
        "floor_of_rest": k["c"] / (size + k["c"]),
        "size_exponent": size_exponent,
        "data_exponent": data_exponent,
        "size_routing_exponent": size_routing_exponent,
        "data_routing_exponent": data_routing_exponent,
        "gamma": k["gamma"],
        "zeta": k["zeta"],
        "E_start": k["E_start"],
        "E_max_excess": k["E_max"] / k["E_start"] - 1,
    }


def _uncentred(term: Any, p: Any, q: Any, twist: Any, quantity: Any, effective: Any) -> tuple[Any, Any, Any]:
    """Amplitude, power of the quantity and power of Ê of a term, from its size and slopes at the centre."""
    power = -p - twist * log(effective)
    power_of_experts = -q - twist * log(quantity)
    amplitude = term * quantity**p * effective ** (-power_of_experts)
    return amplitude, power, power_of_experts


def _centred(
    amplitude: Any, power: Any, power_of_experts: Any, twist: Any, quantity: Any, effective: Any
) -> tuple[Any, Any, Any]:
    """Its inverse."""
    p = -(power + twist * log(effective))
    q = -(power_of_experts + twist * log(quantity))
    return amplitude * quantity ** (-p) * effective**power_of_experts, p, q


_PRIORS = {
    "level": Prior("lognormal", 1.0, 0.3, "geometric mean loss of the rows", "as for every law"),
    "data_share": Prior("logitnormal", 1 / 3, 1.0, "level", "floor, size and data alike until seen"),
    "floor_of_rest": Prior("logitnormal", 0.5, 1.0, "level less the data's part", "the same"),
    "size_exponent": Prior("lognormal", 0.35, 0.5, "", "published exponents lie between .1 and .6"),
    "data_exponent": Prior("lognormal", 0.35, 0.5, "", "the same"),
    "size_routing_exponent": Prior("normal", 0.05, 0.1, "", "experts make a model larger, as a rule"),
    "data_routing_exponent": Prior("normal", 0.0, 0.1, "", "of either sign"),
    "gamma": Prior("normal", 0.0, 0.02, "an e-fold of N_a and of Ê", "of either sign; .01 as published"),
    "zeta": Prior("normal", 0.0, 0.02, "an e-fold of D and of Ê", "of either sign; -.03 as published"),
    "E_start": Prior("lognormal", 2.0, 0.7, "experts", "a dense model counts as a few experts"),
    "E_max_excess": Prior("lognormal", 150.0, 1.0, "E_start", "hundreds of experts: few tables reach it"),
}

LUDZIEJEWSKI = Law(
    name="ludziejewski",
    title="Ludziejewski et al. 2025, joint law of dense and MoE",
    source="arXiv 2502.05172",
    columns=("params_active", "tokens", "experts"),
    coefficients=("a", "alpha", "delta", "gamma", "b", "beta", "omega", "zeta", "c", "E_start", "E_max"),
    function=loss,
    published={
        "a": 35.91,
        "alpha": -0.1889,
        "delta": -0.2285,
        "gamma": 0.0098,
        "b": 35.98,
        "beta": -0.1775,
        "omega": 0.5529,
        "zeta": -0.0259,
        "c": 1.3637,
        "E_start": 2.0732,
        "E_max": 290.4521,
    },
    power_of={},
    totals=tuple(_PRIORS),
    from_totals=from_totals,
    to_totals=to_totals,
    by_units=True,
    priors=_PRIORS,
    helpers=(log,),
)
