"""Krajewski et al. 2024, "Scaling Laws for Fine-Grained Mixture of Experts" (ICML 2024, arXiv 2402.07871).

L(N, D, G) = c + (g / G^gamma + a) / N^alpha + b / D^beta, in nats per token, with N all parameters, D
training tokens and G the granularity: an expert's hidden width is the dense feed-forward's over G. The source
counts N without embeddings and grows the number of experts, and of those used, with G; its coefficients hold
for 64 times the parameters of the dense layer.

A sum of power laws: identified are the loss at the rows' geometric means and the shares of it that tokens,
the floor, and granularity hold; amplitudes at N = D = G = 1 are not.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.law import Coefficients, Law
from moebook.laws.prior import Prior


def loss(coefficients: Coefficients, params: Any, tokens: Any, granularity: Any) -> Any:
    """L in nats per token at N = params, D = tokens, G = granularity >= 1."""
    k = coefficients
    fine = k["g"] * granularity ** (-k["gamma"])
    return k["c"] + (fine + k["a"]) * params ** (-k["alpha"]) + k["b"] * tokens ** (-k["beta"])


def from_totals(totals: Coefficients) -> dict[str, Any]:
    """level = L at N = D = G = 1. b is data_share of it, c is floor_of_rest of the rest.

    g and a together are the size term; fine_share of it is g, the part that granularity moves.
    """
    rest = totals["level"] * (1 - totals["data_share"])
    size = rest * (1 - totals["floor_of_rest"])
    return {
        "a": size * (1 - totals["fine_share"]),
        "b": totals["level"] * totals["data_share"],
        "c": rest * totals["floor_of_rest"],
        "g": size * totals["fine_share"],
        **{name: totals[name] for name in ("alpha", "beta", "gamma")},
    }


def to_totals(coefficients: Coefficients) -> dict[str, Any]:
    """The inverse of from_totals."""
    k = coefficients
    size = k["a"] + k["g"]
    rest = size + k["c"]
    return {
        "level": rest + k["b"],
        "data_share": k["b"] / (rest + k["b"]),
        "floor_of_rest": k["c"] / rest,
        "fine_share": k["g"] / size,
        **{name: k[name] for name in ("alpha", "beta", "gamma")},
    }


_PRIORS = {
    "level": Prior("lognormal", 1.0, 0.3, "geometric mean loss of the rows", "as for every law"),
    "data_share": Prior("logitnormal", 1 / 3, 1.0, "level", "floor, size and data alike until seen"),
    "floor_of_rest": Prior("logitnormal", 0.5, 1.0, "level less the data's part", "the same"),
    "fine_share": Prior("logitnormal", 0.2, 1.0, "size term", "granularity is a detail of size"),
    "alpha": Prior("lognormal", 0.35, 0.5, "", "published exponents lie between .1 and .6"),
    "beta": Prior("lognormal", 0.35, 0.5, "", "the same"),
    "gamma": Prior("lognormal", 0.5, 0.5, "", "halving the experts' width helps less each time"),
}

KRAJEWSKI = Law(
    name="krajewski",
    title="Krajewski et al. 2024, fine-grained experts",
    source="arXiv 2402.07871, 64 times expanded",
    columns=("params", "tokens", "granularity"),
    coefficients=("a", "alpha", "b", "beta", "g", "gamma", "c"),
    function=loss,
    published={"a": 18.1, "alpha": 0.115, "b": 30.8, "beta": 0.147, "g": 2.1, "gamma": 0.58, "c": 0.47},
    power_of={
        "a": (("params", "alpha"),),
        "b": (("tokens", "beta"),),
        "g": (("granularity", "gamma"), ("params", "alpha")),
    },
    totals=tuple(_PRIORS),
    from_totals=from_totals,
    to_totals=to_totals,
    priors=_PRIORS,
)
