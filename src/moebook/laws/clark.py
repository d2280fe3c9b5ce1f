"""Clark et al. 2022, "Unified Scaling Laws for Routed Language Models" (ICML 2022, arXiv 2202.01169).

log10 L(N, E) = a log10 N + b log10 Ê + c log10 N log10 Ê + d, with L in nats per token, N the parameters
that one token uses, E the experts of a routed layer of which one is used, and
1/Ê = 1/(E - 1 + (1/E_start - 1/E_max)^-1) + 1/E_max: few experts help less than their number says (E_start),
and beyond E_max more do not help. A dense model, E = 1, has Ê = E_start and is a power law in N.

All runs of the source saw the same number of tokens, so that the law has no D. The source counts N without
embeddings, and its routed layers are every other block. Restricted forms of the source, for comparison:
`bilinear` (Ê = E) and `separable` (Ê = E and c = 0).

Identified: log10 L is a plane in x = log10 N/N0 and y = log10 Ê/Ê0 with a twist c x y, where N0 and E0 are
the rows' geometric means and Ê0 = Ê(E0). Level and slopes at the centre are nearly uncorrelated, which a and
b, slopes at one parameter and at Ê = 1, far from any run, are not.
"""

from __future__ import annotations

from typing import Any

from moebook.laws.arithmetic import exp10, log10, saturated
from moebook.laws.law import Coefficients, Law
from moebook.laws.prior import Prior

# As printed, by router; rounded to three decimals, which costs more than the fit's own residuals.
PUBLISHED = {
    "S-Base": {"a": -0.082, "b": -0.108, "c": 0.009, "d": 1.104, "E_start": 1.847, "E_max": 314.478},
    "RL-R": {"a": -0.083, "b": -0.126, "c": 0.012, "d": 1.111, "E_start": 1.880, "E_max": 469.982},
    "Hash": {"a": -0.087, "b": -0.136, "c": 0.012, "d": 1.157, "E_start": 4.175, "E_max": 477.741},
}


def effective_experts(coefficients: Coefficients, experts: Any) -> Any:
    """Ê at E = experts >= 1: from E_start at E = 1 to E_max at very many."""
    return saturated(experts - 1, coefficients["E_start"], coefficients["E_max"])


def loss(coefficients: Coefficients, params_active: Any, experts: Any) -> Any:
    """L in nats per token at N = params_active, E = experts."""
    return _plane(coefficients, log10(params_active), log10(effective_experts(coefficients, experts)))


def loss_bilinear(coefficients: Coefficients, params_active: Any, experts: Any) -> Any:
    """The same with Ê = E: no saturation at either end."""
    return _plane(coefficients, log10(params_active), log10(experts))


def loss_separable(coefficients: Coefficients, params_active: Any, experts: Any) -> Any:
    """The same with Ê = E and c = 0: experts help a small and a large model alike."""
    return _plane({**coefficients, "c": 0.0}, log10(params_active), log10(experts))


def _plane(k: Coefficients, x: Any, y: Any) -> Any:
    return exp10(k["a"] * x + k["b"] * y + k["c"] * x * y + k["d"])


def from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """Coefficients from what the data identify.

    level = L at N0 and E0; size_exponent = -d log L / d log N and routing_exponent = -d log L / d log Ê
    there; c, E_start, and E_max_excess = E_max / E_start - 1.
    """
    shape = {"E_start": totals["E_start"], "E_max": totals["E_start"] * (1 + totals["E_max_excess"])}
    centre = log10(units["params_active"]), log10(effective_experts(shape, units["experts"]))
    return {**_uncentred(totals, *centre), **shape}


def to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of from_totals."""
    k = coefficients
    centre = log10(units["params_active"]), log10(effective_experts(k, units["experts"]))
    return {**_centred(k, *centre), "E_start": k["E_start"], "E_max_excess": k["E_max"] / k["E_start"] - 1}


def bilinear_from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """As from_totals, with Ê = E."""
    return _uncentred(totals, log10(units["params_active"]), log10(units["experts"]))


def bilinear_to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of bilinear_from_totals."""
    return _centred(coefficients, log10(units["params_active"]), log10(units["experts"]))


def separable_from_totals(totals: Coefficients, units: Coefficients) -> dict[str, Any]:
    """As from_totals, with Ê = E and c = 0."""
    coefficients = bilinear_from_totals({**totals, "c": 0.0}, units)
    return {name: coefficients[name] for name in ("a", "b", "d")}


def separable_to_totals(coefficients: Coefficients, units: Coefficients) -> dict[str, Any]:
    """The inverse of separable_from_totals."""
    totals = bilinear_to_totals({**coefficients, "c": 0.0}, units)
    return {name: totals[name] for name in ("level", "size_exponent", "routing_exponent")}


def _uncentred(totals: Coefficients, x0: Any, y0: Any) -> dict[str, Any]:
    """a, b, c and d of the plane whose level and slopes at (x0, y0) are given."""
    p, q, c = totals["size_exponent"], totals["routing_exponent"], totals["c"]
    d = log10(totals["level"]) + p * x0 + q * y0 + c * x0 * y0
    return {"a": -p - c * y0, "b": -q - c * x0, "c": c, "d": d}


def _centred(k: Coefficients, x0: Any, y0: Any) -> dict[str, Any]:
    """Its inverse."""
    return {
        "level": _plane(k, x0, y0),
        "size_exponent": -(k["a"] + k["c"] * y0),
        "routing_exponent": -(k["b"] + k["c"] * x0),
        "c": k["c"],
    }


_PRIORS = {
    "level": Prior("lognormal", 1.0, 0.3, "geometric mean loss of the rows", "as for every law"),
    "size_exponent": Prior("lognormal", 0.07, 0.5, "", "a power law without a floor: .03 to .19 within 2 sd"),
    "routing_exponent": Prior("normal", 0.03, 0.03, "", "experts help or do nothing; rarely do they harm"),
    "c": Prior("normal", 0.0, 0.02, "a decade of N and of Ê", "of either sign; .009 to .012 as published"),
    "E_start": Prior("lognormal", 2.0, 0.7, "experts", "a dense model counts as a few experts"),
    "E_max_excess": Prior("lognormal", 150.0, 1.0, "E_start", "hundreds of experts: few tables reach it"),
}
_COLUMNS = ("params_active", "experts")
_TITLE = "Clark et al. 2022"

CLARK = Law(
    name="clark",
    title=f"{_TITLE}, with saturation",
    source="arXiv 2202.01169, Eq. 9 and 10; coefficients of S-Base",
    columns=_COLUMNS,
    coefficients=("a", "b", "c", "d", "E_start", "E_max"),
    function=loss,
    published=PUBLISHED["S-Base"],
    power_of={},
    totals=tuple(_PRIORS),
    from_totals=from_totals,
    to_totals=to_totals,
    by_units=True,
    priors=_PRIORS,
    helpers=(log10,),
)

CLARK_BILINEAR = Law(
    name="clark-bilinear",
    title=f"{_TITLE}, without saturation",
    source="arXiv 2202.01169",
    columns=_COLUMNS,
    coefficients=("a", "b", "c", "d"),
    function=loss_bilinear,
    published={},
    power_of={},
    totals=tuple(_PRIORS)[:4],
    from_totals=bilinear_from_totals,
    to_totals=bilinear_to_totals,
    by_units=True,
    priors={name: _PRIORS[name] for name in tuple(_PRIORS)[:4]},
    helpers=(log10,),
)

CLARK_SEPARABLE = Law(
    name="clark-separable",
    title=f"{_TITLE}, separable",
    source="arXiv 2202.01169",
    columns=_COLUMNS,
    coefficients=("a", "b", "d"),
    function=loss_separable,
    published={},
    power_of={},
    totals=tuple(_PRIORS)[:3],
    from_totals=separable_from_totals,
    to_totals=separable_to_totals,
    by_units=True,
    priors={name: _PRIORS[name] for name in tuple(_PRIORS)[:3]},
    helpers=(log10,),
)
