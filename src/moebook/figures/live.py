"""Live figures: HTML that answers to a slider with no kernel, no library and no network.

Each is one self-contained string: the numbers as JSON, our own small script and styles, and the same
numbers as a plain table for those without scripts. Keyboard: the slider is a native range input.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook.figures.page import Html, table
from moebook.figures.style import flops_text, percent, sparsity_decimals, sparsity_text, unbroken

if TYPE_CHECKING:
    import pandas

DRAWS_SHOWN = 300
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
EDGE = 0.005  # doublings within which an optimum counts as at the edge of the search


def doublings(sparsity: np.ndarray | float) -> np.ndarray:
    """log2(1/(1 - S)): how often E/K doubled from the dense model; the axis of all sparsity figures."""
    return -np.log2(1 - np.asarray(sparsity, dtype=float))


def posterior_of_sparsity(
    compute_flops: Sequence[float],
    sparsity_star: np.ndarray,
    fitted: tuple[float, float],
    sparsity_top: float,
    title: str,
) -> Html:
    """The posterior of the optimal sparsity under a slider over budgets.

    compute_flops: B budgets (FLOPs), rising; sparsity_star: [draws, B] the optimum of each draw; fitted:
    smallest and largest budget with runs (FLOPs), beyond which the page says that it extrapolates;
    sparsity_top: largest sparsity of the search grid, whose mass is named as an edge.
    """
    sparsity_star = np.asarray(sparsity_star, dtype=float)
    if sparsity_star.ndim != 2 or sparsity_star.shape[1] != len(compute_flops):
        raise ValueError(
            f"sparsity_star: shape {sparsity_star.shape}: not [draws, {len(compute_flops)} budgets]"
        )
    if not np.all((sparsity_star >= 0) & (sparsity_star < 1)):
        raise ValueError("sparsity_star: a value outside [0, 1)")
    shown = thin(sparsity_star, DRAWS_SHOWN)
    top = float(doublings(sparsity_top))
    hundredths = np.rint(100 * np.minimum(doublings(shown), top)).astype(int)
    quantiles = doublings(np.quantile(sparsity_star, QUANTILES, axis=0)).T
    data = {
        "kind": "posterior", "budgets": [float(f"{c:.4g}") for c in compute_flops],
        "fitted": list(fitted), "top": round(top, 4), "draws": hundredths.T.tolist(),
        "quantiles": np.round(quantiles, 4).tolist(),
        "edge": np.round(edge_shares(sparsity_star, sparsity_top)[1], 4).tolist(),
        "said": [
            posterior_in_words(c, star, fitted, sparsity_top)
            for c, star in zip(compute_flops, sparsity_star.T, strict=True)
        ],
    }  # fmt: skip
    return _figure(data, title, posterior_table(compute_flops, sparsity_star, sparsity_top))


def loss_against_sparsity(
    compute_flops: Sequence[float],
    sparsity: Sequence[float],
    loss_nats: Mapping[str, np.ndarray],
    fitted: tuple[float, float],
    title: str,
    saved_nats: Sequence[float] | None = None,
) -> Html:
    """Loss at the best size as a function of sparsity, under a slider over budgets.

    compute_flops: B budgets; sparsity: P grid points in [0, 1), rising from 0; loss_nats: "low", "middle",
    "high", each [B, P], the quantiles .05, .5 and .95 of the loss (nats per byte); saved_nats: [B] median
    over draws of what the best sparsity of a draw saves against its dense model.
    """
    import pandas as pd

    grid = doublings(np.asarray(sparsity, dtype=float))
    data: dict[str, Any] = {
        "kind": "isoflop", "budgets": [float(f"{c:.4g}") for c in compute_flops], "fitted": list(fitted),
        "top": round(float(grid[-1]), 4), "x": [round(float(g), 4) for g in grid],
    }  # fmt: skip
    shape = (len(compute_flops), len(grid))
    for name in ("low", "middle", "high"):
        values = np.asarray(loss_nats[name], dtype=float)
        if values.shape != shape:
            raise ValueError(f"loss_nats: {name}: shape {values.shape}: not [budgets, sparsities] {shape}")
        data[name] = np.rint(1e4 * values).astype(int).tolist()
    middle = np.asarray(loss_nats["middle"], dtype=float)
    data["said"] = [
        loss_in_words(c, sparsity, line, fitted, None if saved_nats is None else saved_nats[i])
        for i, (c, line) in enumerate(zip(compute_flops, middle, strict=True))
    ]
    rows = pd.DataFrame({"C (FLOPs)": [flops_text(c) for c in compute_flops]})
    for doubling in range(int(grid[-1] + 1e-6) + 1):
        column = f"S = {sparsity_text(1 - 2.0**-doubling)}"
        rows[column] = [f"{np.interp(doubling, grid, line):.3f}" for line in middle]
    return _figure(data, title, rows)


def posterior_table(
    compute_flops: Sequence[float], sparsity_star: np.ndarray, sparsity_top: float
) -> pandas.DataFrame:
    """The live posterior's numbers: a row a budget with median, 50 % and 90 % interval, mass at the edges."""
    import pandas as pd

    quantiles = np.quantile(sparsity_star, QUANTILES, axis=0)
    text = np.array([quantile_texts(line, sparsity_top) for line in quantiles.T], dtype=object).T
    near_zero, near_top = edge_shares(sparsity_star, sparsity_top)
    return pd.DataFrame(
        {
            "C (FLOPs)": [flops_text(c) for c in compute_flops],
            "median S*": [f"at the {m}" if m.startswith("edge") else m for m in text[2]],
            "50 % interval": [span(a, b) for a, b in zip(text[1], text[3], strict=True)],
            "90 % interval": [span(a, b) for a, b in zip(text[0], text[4], strict=True)],
            "draws at S = 0": [percent(share) for share in near_zero],
            f"draws at S = {sparsity_text(sparsity_top)}": [percent(share) for share in near_top],
        }
    )


def posterior_in_words(
    compute_flops: float, sparsity_star: np.ndarray, fitted: tuple[float, float], sparsity_top: float
) -> str:
    """What the live posterior says at one budget; sparsity_star: [draws]."""
    experts = 1 / (1 - np.median(sparsity_star))
    low, _, middle, _, high = quantile_texts(np.quantile(sparsity_star, QUANTILES), sparsity_top)
    at_edge = middle.startswith("edge")
    each = (
        f"{experts:.{1 if experts < 9.95 else 0}f} experts{' or more' if at_edge else ''} for each active one"
    )
    near_zero, near_top = edge_shares(sparsity_star, sparsity_top)
    text = (
        f"C = {flops_text(compute_flops)} FLOPs: S* {f'at the {middle}' if at_edge else f'= {middle}'}, "
        f"90 % interval {span(low, high)} (median: {each})."
    )
    if near_top >= 0.05:
        text += (
            f" {percent(near_top)} of the draws lie at the largest sparsity tried (the hollow bar): the best "
            "may lie beyond."
        )
    if near_zero >= 0.05:
        text += f" {percent(near_zero)} of the draws say dense."
    return text + _beyond(compute_flops, fitted)


def loss_in_words(
    compute_flops: float,
    sparsity: Sequence[float],
    middle_nats: np.ndarray,
    fitted: tuple[float, float],
    saved_nats: float | None = None,
) -> str:
    """What the live loss curve says at one budget; middle_nats: median loss by sparsity, dense first.

    saved_nats: median over draws of dense minus best, which is not the difference of the two medians.
    """
    best = int(np.argmin(middle_nats))
    edge = " (the edge)" if best == len(sparsity) - 1 else ""
    text = (
        f"C = {flops_text(compute_flops)} FLOPs: lowest median loss {middle_nats[best]:.3f} nats per byte at "
        f"S = {sparsity_text(float(sparsity[best]))}{edge}; dense {middle_nats[0]:.3f}."
    )
    if saved_nats is not None:
        text += f" Compared draw by draw, the best sparsity saves {saved_nats:.3f} against dense (median)."
    return text + _beyond(compute_flops, fitted)


def quantile_texts(quantiles: Sequence[float] | np.ndarray, sparsity_top: float) -> list[str]:
    """Quantiles of S* in decimals; one that is the edge of the search is named so: it is no estimate."""
    limit = float(doublings(sparsity_top)) - EDGE
    return [
        f"edge (≥ {sparsity_text(sparsity_top)})" if doublings(value) > limit else text
        for value, text in zip(quantiles, sparsity_decimals(*quantiles), strict=True)
    ]


def span(low: str, high: str) -> str:
    """An interval of two texts; one that is all edge is named once."""
    return f"{low} to {high}" if low != high or not low.startswith("edge") else f"at the {low}"


def _beyond(compute_flops: float, fitted: tuple[float, float]) -> str:
    if compute_flops <= fitted[1] * 1.001:
        return ""
    times = compute_flops / fitted[1]
    return f" This is {times:.1f} times the largest budget that was run: an extrapolation."


def edge_shares(sparsity_star: np.ndarray, sparsity_top: float) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the draws (first axis) whose optimum is dense, and at the largest sparsity of the search."""
    at = doublings(sparsity_star)
    return np.mean(at < EDGE, axis=0), np.mean(at > doublings(sparsity_top) - EDGE, axis=0)


def thin(draws: np.ndarray, count: int) -> np.ndarray:
    """At most `count` rows, evenly spaced over the chain order."""
    if len(draws) <= count:
        return draws
    return draws[np.linspace(0, len(draws) - 1, count).round().astype(int)]


@cache
def _asset(name: str) -> str:
    return files("moebook.figures").joinpath(name).read_text(encoding="utf-8")


def _figure(data: dict[str, Any], title: str, rows: pandas.DataFrame) -> Html:
    budgets = data["budgets"]
    inside = [i for i, c in enumerate(budgets) if c <= data["fitted"][1] * 1.001]
    first = inside[-1] if inside else 0
    data = data | {"said": [unbroken(line) for line in data["said"]]}
    payload = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return Html(
        f"<style>{_asset('live.css')}</style>"
        f'<div class="mb-live" role="group" aria-label="{html.escape(title)}">'
        f'<p class="mb-title">{html.escape(title)}</p>'
        f'<label class="mb-control" hidden><span>Training compute</span>'
        f'<input type="range" min="0" max="{len(budgets) - 1}" step="1" value="{first}" '
        'autocomplete="off"></label>'
        '<svg viewBox="0 0 560 280" role="img"></svg>'
        '<output aria-live="polite"></output>'
        f'<script type="application/json">{payload}</script>'
        f"{table(rows, fold='The same numbers as a table')}"
        f"</div><script>{_asset('live.js')}</script>"
    )
