"""Abnar et al. 2025, Eq. 8: the loss at one compute budget as a surface in size and sparsity.

L(N, S) = a1 x + a2 x^2 + b1 s + b2 s^2 + c1 x s + c2 (x s)^2 + d, in nats per token, with x = ln N,
s = -ln(1 - S), N all parameters and S = (E - K) / E (ICML 2025, arXiv 2501.12370). Fitted once per budget C,
with D = C over the FLOPs per token; the source chose degree 2 among 0 to 4 by cross-validation, and fits it
again in N_a (read `params_active` for `params`). It prints no coefficients.

The form is not closed under a change of the unit of N: moving x brings a term x s^2 that Eq. 8 has not. So x
is the logarithm of the plain count, and what is identified is taken by derivatives: the loss, its two slopes,
its curvatures and its twist at the rows' means of x and s, relative to the loss. The seven coefficients are
those of polynomials about N = 1, S = 0, far from any run, and differ by many digits that cancel.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.arithmetic import log
from moebook.laws.law import Coefficients, Law
from moebook.laws.prior import Prior


def loss(coefficients: Coefficients, params: Any, sparsity: Any) -> Any:
    """L in nats per token at N = params, S = sparsity in [0, 1), at the budget of the coefficients."""
    return _surface(coefficients, log(params), -log(1 - sparsity))


def _surface(k: Coefficients, x: Any, s: Any) -> Any:
    both = x * s
    return (
        (k["a1"] + k["a2"] * x) * x + (k["b1"] + k["b2"] * s) * s + (k["c1"] + k["c2"] * both) * both + k["d"]
    )


def from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """Coefficients from the surface's value and derivatives at x0 = ln N0 and s0 = -ln(1 - S)0.

    level = L there. The rest are in units of it: size_slope = dL/dx, size_bend = d2L/dx2, sparsity_slope,
    sparsity_bend, twist = d2L/dxds and bend_of_bend = d4L/dx2ds2.
    """
    t, level = totals, totals["level"]
    x0, s0 = log(units["params"]), -log(units["used"])
    c2 = level * t["bend_of_bend"] / 4
    c1 = level * t["twist"] - 4 * c2 * x0 * s0
    a2 = level * t["size_bend"] / 2 - c2 * s0 * s0
    b2 = level * t["sparsity_bend"] / 2 - c2 * x0 * x0
    a1 = level * t["size_slope"] - 2 * a2 * x0 - (c1 + 2 * c2 * x0 * s0) * s0
    b1 = level * t["sparsity_slope"] - 2 * b2 * s0 - (c1 + 2 * c2 * x0 * s0) * x0
    coefficients = {"a1": a1, "a2": a2, "b1": b1, "b2": b2, "c1": c1, "c2": c2, "d": 0.0}
    return {**coefficients, "d": level - _surface(coefficients, x0, s0)}


def to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of from_totals."""
    k = coefficients
    x0, s0 = log(units["params"]), -log(units["used"])
    level = _surface(k, x0, s0)
    across = k["c1"] + 2 * k["c2"] * x0 * s0
    return {
        "level": level,
        "size_slope": (k["a1"] + 2 * k["a2"] * x0 + across * s0) / level,
        "size_bend": 2 * (k["a2"] + k["c2"] * s0 * s0) / level,
        "sparsity_slope": (k["b1"] + 2 * k["b2"] * s0 + across * x0) / level,
        "sparsity_bend": 2 * (k["b2"] + k["c2"] * x0 * x0) / level,
        "twist": (across + 2 * k["c2"] * x0 * s0) / level,
        "bend_of_bend": 4 * k["c2"] / level,
    }


_RELATIVE = "level, an e-fold of N"
_PRIORS = {
    "level": Prior("lognormal", 1.0, 0.3, "geometric mean loss of the rows", "as for every law"),
    "size_slope": Prior("normal", 0.0, 0.05, _RELATIVE, "rows lie on both sides of the best size"),
    "size_bend": Prior("normal", 0.03, 0.03, f"{_RELATIVE} squared", "too small and too large are worse"),
    "sparsity_slope": Prior("normal", 0.0, 0.05, "level, an e-fold of 1 - S", "of either sign"),
    "sparsity_bend": Prior("normal", 0.0, 0.03, "level, an e-fold of 1 - S squared", "of either sign"),
    "twist": Prior("normal", 0.0, 0.03, f"{_RELATIVE} and of 1 - S", "of either sign"),
    "bend_of_bend": Prior("normal", 0.0, 0.01, f"{_RELATIVE} and of 1 - S, both squared", "of either sign"),
}

ISOFLOP = Law(
    name="isoflop",
    title="Abnar et al. 2025, Eq. 8: one budget's surface",
    source="arXiv 2501.12370, Eq. 8",
    columns=("params", "sparsity"),
    coefficients=("a1", "a2", "b1", "b2", "c1", "c2", "d"),
    function=loss,
    published={},
    power_of={},
    totals=tuple(_PRIORS),
    from_totals=from_totals,
    to_totals=to_totals,
    by_units=True,
    priors=_PRIORS,
    helpers=(log,),
)
