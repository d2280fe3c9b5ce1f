"""Abnar et al. 2025, "Parameters vs FLOPs", Eq. 6 (ICML 2025, arXiv 2501.12370).

L(N, D, S) = a / N^alpha + b / D^beta + c / (1 - S)^lambda + d / ((1 - S)^delta N^gamma) + e,
with N all parameters, D training tokens and S = (E - K) / E the share of experts that a token leaves idle.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.law import Coefficients, Law


def loss(coefficients: Coefficients, params: Any, tokens: Any, sparsity: Any) -> Any:
    """L in nats per token at N = params, D = tokens, S = sparsity in [0, 1)."""
    k = coefficients
    used = 1 - sparsity
    return (
        k["a"] * params ** (-k["alpha"])
        + k["b"] * tokens ** (-k["beta"])
        + k["c"] * used ** (-k["lambda"])
        + k["d"] * used ** (-k["delta"]) * params ** (-k["gamma"])
        + k["e"]
    )


def from_totals(totals: Coefficients) -> dict[str, Any]:
    """Coefficients from what the data identify.

    level = L at N = D = 1 - S = 1. There b is one part, data_share, c and e together are the floor E0,
    floor_of_rest of the rest, and a and d together the size term T. floor_tilt_share of E0 is c (the part
    that sparsity moves), size_plain_share of T is a (the part that sparsity leaves alone).
    """
    rest = totals["level"] * (1 - totals["data_share"])
    floor = rest * totals["floor_of_rest"]
    size = rest * (1 - totals["floor_of_rest"])
    return {
        "a": size * totals["size_plain_share"],
        "b": totals["level"] * totals["data_share"],
        "c": floor * totals["floor_tilt_share"],
        "d": size * (1 - totals["size_plain_share"]),
        "e": floor * (1 - totals["floor_tilt_share"]),
        **{name: totals[name] for name in ("alpha", "beta", "lambda", "delta", "gamma")},
    }


ABNAR = Law(
    name="abnar",
    title="Abnar et al. 2025, Eq. 6",
    source="arXiv 2501.12370, Eq. 6",
    columns=("params", "tokens", "sparsity"),
    coefficients=("alpha", "beta", "lambda", "delta", "gamma", "a", "b", "c", "d", "e"),
    function=loss,
    published={
        "alpha": 0.5962,
        "beta": 0.3954,
        "lambda": -0.1666,
        "delta": 0.1603,
        "gamma": 0.1595,
        "a": 16612.50,
        "b": 5455.67,
        "c": 0.4598,
        "d": 17.26,
        "e": 0.94,
    },
    power_of={
        "a": (("params", "alpha"),),
        "b": (("tokens", "beta"),),
        "c": (("used", "lambda"),),
        "d": (("used", "delta"), ("params", "gamma")),
    },
    totals=(
        "level",
        "data_share",
        "floor_of_rest",
        "size_plain_share",
        "floor_tilt_share",
        "alpha",
        "beta",
        "gamma",
        "lambda",
        "delta",
    ),
    from_totals=from_totals,
)
