"""Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", approach 3 (arXiv 2203.15556).

L(N, D) = E + A / N^alpha + B / D^beta, with N parameters and D training tokens.
Coefficients: the corrected fit of Besiroglu et al. 2024 (arXiv 2404.10102).
"""

from __future__ import annotations

from typing import Any

from moebook.laws.law import Coefficients, Law


def loss(coefficients: Coefficients, params: Any, tokens: Any) -> Any:
    """L in nats per token at N = params, D = tokens."""
    k = coefficients
    return k["E"] + k["A"] * params ** (-k["alpha"]) + k["B"] * tokens ** (-k["beta"])


def from_totals(totals: Coefficients) -> dict[str, Any]:
    """level = L at (N, D) = (1, 1); data_share of it is B, floor_of_rest of the rest E."""
    rest = totals["level"] * (1 - totals["data_share"])
    return {
        "E": rest * totals["floor_of_rest"],
        "A": rest * (1 - totals["floor_of_rest"]),
        "B": totals["level"] * totals["data_share"],
        "alpha": totals["alpha"],
        "beta": totals["beta"],
    }


CHINCHILLA = Law(
    name="chinchilla",
    title="Chinchilla (Hoffmann et al. 2022)",
    source="arXiv 2203.15556, approach 3; coefficients of arXiv 2404.10102",
    columns=("params", "tokens"),
    coefficients=("E", "A", "B", "alpha", "beta"),
    function=loss,
    published={"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658},
    power_of={"A": (("params", "alpha"),), "B": (("tokens", "beta"),)},
    totals=("level", "data_share", "floor_of_rest", "alpha", "beta"),
    from_totals=from_totals,
)
