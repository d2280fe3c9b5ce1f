"""What a posterior must show before anything is quoted from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np

RHAT_BELOW = 1.01
#: Chains that are further apart than this have not merely been cut short.
RHAT_SLOW = 1.05
EFMI_ABOVE = 0.2
ESS_ABOVE = 400.0


class FailedPosterior(RuntimeError):
    """A posterior that failed a gate was asked for an answer."""


@dataclass(frozen=True)
class Gate:
    """One demand: what was measured, where it was worst, and whether it holds."""

    name: str
    demand: str
    value: float
    worst: str
    passed: bool


def judge(
    quantities: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    diverging: np.ndarray,
    energy: np.ndarray,
) -> list[Gate]:
    """The gates of a set of draws.

    quantities: {name: [chains, draws]} that may be cited: R-hat and effective sizes count;
    others: {name: [chains, draws]} that must have mixed: R-hat counts;
    diverging, energy [chains, draws].
    R-hat is rank-normalised and split, effective sizes are bulk and tail (Vehtari et al. 2021).
    """
    with np.errstate(invalid="ignore"):  # a chain that stands still has no variance; _gate says so
        rhat = {name: float(az.rhat(draws)) for name, draws in {**quantities, **others}.items()}
    bulk = {name: float(az.ess(draws, method="bulk")) for name, draws in quantities.items()}
    tail = {name: float(az.ess(draws, method="tail")) for name, draws in quantities.items()}
    efmi = {f"chain {i + 1}": float(value) for i, value in enumerate(az.bfmi(energy))}
    return [
        _gate("R-hat", f"< {RHAT_BELOW}", rhat, highest=True, passes=lambda x: x < RHAT_BELOW),
        _gate("divergences", "= 0", {"all chains": float(np.sum(diverging))}, True, lambda x: x == 0),
        _gate("E-FMI", f"> {EFMI_ABOVE}", efmi, highest=False, passes=lambda x: x > EFMI_ABOVE),
        _gate("bulk effective sample", f"> {ESS_ABOVE:.0f}", bulk, False, lambda x: x > ESS_ABOVE),
        _gate("tail effective sample", f"> {ESS_ABOVE:.0f}", tail, False, lambda x: x > ESS_ABOVE),
    ]


def too_few(judged: Sequence[Gate]) -> float | None:
    """How many times more effective draws were needed, where that and no other gate failed; else None.

    R-hat of chains that mix slowly is above its limit, too: it is forgiven up to RHAT_SLOW.
    """
    failed = {gate.name: gate.value for gate in judged if not gate.passed}
    sizes = [value for name, value in failed.items() if name.endswith("effective sample")]
    others = [name for name in failed if not name.endswith("effective sample")]
    slow = others in ([], ["R-hat"]) and failed.get("R-hat", 1.0) < RHAT_SLOW
    return ESS_ABOVE / min(sizes) if slow and sizes and min(sizes) > 0 else None


def require_passed(summary: Mapping[str, Any]) -> None:
    """Raise FailedPosterior, naming each failed gate, unless the summary and all its gates say `passed`."""
    failed = [gate for gate in summary.get("gates", []) if not gate.get("passed")]
    if summary.get("status") == "passed" and not failed:
        return
    why = "; ".join(f"{g['name']} {g['value']} (must be {g['demand']}; worst: {g['worst']})" for g in failed)
    raise FailedPosterior(
        f"posterior {str(summary.get('identity', 'without identity'))[:12]}: "
        f"status {summary.get('status')!r}: {why or 'no gates on record'}"
    )


def _gate(name: str, demand: str, values: dict[str, float], highest: bool, passes: Any) -> Gate:
    """The worst of `values`; a value that is not a number (a stuck chain) is the worst of all."""
    broken = [key for key, value in values.items() if not np.isfinite(value)]
    worst = broken[0] if broken else (max if highest else min)(values, key=values.__getitem__)
    # JSON has no NaN: a broken value is stored as the far end of its scale.
    value = (1e9 if highest else 0.0) if broken else values[worst]
    return Gate(name, demand, value, worst, not broken and bool(passes(value)))
