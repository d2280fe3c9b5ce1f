"""Does the model, before and after seeing the data, make data like these?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LEVELS = (50, 90)
#: A quantity is identified where the data at least halve the prior's spread.
IDENTIFIED_FROM = 0.5
#: A posterior predictive p-value nearer to 0 or 1 than this is extreme.
EXTREME = 0.025


def coverage(predicted: np.ndarray, observed: np.ndarray) -> dict[str, float]:
    """Share of observed [rows] within central intervals of predicted [draws, rows], by level in percent."""
    shares = {}
    for level in LEVELS:
        low, high = np.percentile(predicted, [50 - level / 2, 50 + level / 2], axis=0)
        shares[str(level)] = float(np.mean((observed >= low) & (observed <= high)))
    return shares


def posterior_predictive(
    mean_log: np.ndarray, replicated_log: np.ndarray, loss_nats: np.ndarray, axes: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Coverage and posterior predictive p-values (Gelman, Meng and Stern 1996).

    mean_log, replicated_log [draws, rows]: log loss without and with noise; loss_nats [rows];
    axes {name: [rows]}: coordinates along which residuals must show no trend.
    A p-value is the probability that replicated data are more extreme than the observed: near 0 or 1 is bad.
    """
    observed = np.log(loss_nats)[None, :]
    real, made = observed - mean_log, replicated_log - mean_log
    statistics = {
        "spread of residuals": (_spread(real), _spread(made)),
        "largest residual": (np.abs(real).max(axis=1), np.abs(made).max(axis=1)),
    }
    for name, values in axes.items():
        levels = len(np.unique(values))
        if levels < 2:
            continue  # nothing runs along a column that does not vary
        z = (values - values.mean()) / values.std()
        statistics[f"trend along {name}"] = (real @ z, made @ z)
        if levels < 3:
            continue  # two points make a line
        bend = z**2 - np.polyval(np.polyfit(z, z**2, 1), z)
        statistics[f"bend along {name}"] = (real @ bend, made @ bend)
    return {
        "coverage": coverage(np.exp(replicated_log), loss_nats),
        "p_values": {name: float(np.mean(m >= r)) for name, (r, m) in statistics.items()},
        "residual_sd": float(np.median(_spread(real))),
    }


def extremes(p_values: Mapping[str, float]) -> dict[str, float]:
    """The patterns in the residuals that data made by the model seldom show as the observed do."""
    return {name: p for name, p in p_values.items() if not EXTREME <= p <= 1 - EXTREME}


def prior_predictive(prior_log: np.ndarray, loss_nats: np.ndarray) -> dict[str, Any]:
    """Coverage of the data by draws that never saw them; prior_log [draws, rows] with misfit and noise.

    A law that is a polynomial has prior draws with a loss below zero somewhere, which have no logarithm:
    `impossible` is their share, and the rest is judged.
    """
    possible = np.isfinite(prior_log).all(axis=1)
    prior_log = prior_log[possible]
    low, high = np.percentile(np.exp(prior_log), [5, 95])
    return {
        "coverage": coverage(np.exp(prior_log), loss_nats),
        "loss_90": [float(low), float(high)],
        "observed_range": [float(loss_nats.min()), float(loss_nats.max())],
        "impossible": float(np.mean(~possible)),
    }


def contraction(prior: np.ndarray, posterior: np.ndarray) -> float:
    """1 - sd(posterior) / sd(prior): 1 where the data decide, 0 where the prior does."""
    return float(1 - np.std(posterior) / np.std(prior))


def _spread(residuals: np.ndarray) -> np.ndarray:
    """Standard deviation a draw by the median absolute residual: heavy tails do not move it."""
    return 1.4826 * np.median(np.abs(residuals), axis=1)
