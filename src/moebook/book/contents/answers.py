"""The answer: what the posterior of the optimum says, in sentences, tables and figures.

Arrays of optima are [draws, budgets]; sparsities lie in [0, 1), budgets in FLOPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from moebook.architecture import Family
from moebook.book import profiles
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.paths import runs_folder
from moebook.book.say import likelihood, percent
from moebook.figures import live, page
from moebook.figures.style import count_text, flops_text, sparsity_text

if TYPE_CHECKING:
    from moebook.bayes import Posterior

GRID_BUDGETS = 33
BEYOND = 10.0  # how far past the largest budget the sliders go, marked as extrapolation
CURVE_DRAWS = 200


@dataclass(frozen=True)
class Curve:
    """The optimum of every draw at several budgets.

    text: the text's name; identity: of the posterior; compute_flops: [B]; sparsity_star, params_star,
    params_active_star, tokens_star: [draws, B]; verdicts: one a budget, as the optimum itself words it;
    fitted: smallest and largest budget with runs; sparsity_top: largest sparsity of the search.
    """

    text: str
    identity: str
    compute_flops: np.ndarray
    sparsity_star: np.ndarray
    params_star: np.ndarray
    params_active_star: np.ndarray
    tokens_star: np.ndarray
    verdicts: tuple[str, ...]
    fitted: tuple[float, float]
    sparsity_top: float


@cache
def posterior(text: str) -> Posterior:
    """The stored posterior of a text."""
    from moebook.bayes import Posterior

    return Posterior.load(runs_folder() / "posteriors" / text)


def fitted_budgets(text: str) -> list[float]:
    """The budgets at which this text has runs, FLOPs, rising."""
    return sorted({float(c) for c in profiles.done_runs(run_table(), text)["budget_flops"]})


@cache
def answer(text: str) -> Curve:
    """The optimum at the budgets that were run."""
    return _optima(text, fitted_budgets(text))


@cache
def curve(text: str) -> Curve:
    """The optimum on a fine grid of budgets, from the smallest run to BEYOND times the largest."""
    budgets = fitted_budgets(text)
    inside = np.geomspace(budgets[0], budgets[-1], GRID_BUDGETS)
    beyond = np.geomspace(budgets[-1], BEYOND * budgets[-1], 9)[1:]
    return _optima(text, [*inside, *beyond])


def _optima(text: str, budgets: Sequence[float]) -> Curve:
    from moebook.optimum import optimum

    found = [optimum(posterior(text), compute_flops=float(c)) for c in budgets]
    runs = fitted_budgets(text)
    return Curve(
        text=text, identity=found[0].identity, compute_flops=np.array(budgets, dtype=float),
        sparsity_star=np.stack([o.sparsity_star for o in found], 1),
        params_star=np.stack([o.params_star for o in found], 1),
        params_active_star=np.stack([o.params_active_star for o in found], 1),
        tokens_star=np.stack([o.tokens_star for o in found], 1),
        verdicts=tuple(o.verdict for o in found), fitted=(runs[0], runs[-1]),
        sparsity_top=float(profiles.done_runs(run_table(), text)["sparsity"].max()),
    )  # fmt: skip


def optimum_sentence(sparsity_star: np.ndarray, sparsity_top: float, compute_flops: float) -> str:
    """What the draws of S* at one budget say, in a sentence to repeat; sparsity_star: [draws]."""
    low, _, middle, _, high = np.quantile(sparsity_star, live.QUANTILES)
    near_zero, near_top = live.edge_shares(sparsity_star, sparsity_top)
    opening = f"at {flops_text(compute_flops)} FLOPs"
    if near_top >= 0.05:
        return (
            f"{opening}, the best sparsity is at least {live.sparsity_decimal(low)} with 95 % probability. "
            f"Its upper end is not identified: {near_top:.0%} of the posterior lies at the largest "
            "sparsity that "
            f"was trained, {sparsity_text(sparsity_top)}"
        )
    if near_zero >= 0.05:
        return (
            f"{opening}, the best sparsity is at most {live.sparsity_decimal(high)} with 95 % "
            "probability, and "
            f"with {near_zero:.0%} probability it is zero: a dense model"
        )
    return (
        f"{opening}, the best sparsity is {live.sparsity_decimal(middle)}, and with 90 % probability it lies "
        f"between {live.sparsity_decimal(low)} and {live.sparsity_decimal(high)}: "
        f"{1 / (1 - low):.0f} to {1 / (1 - high):.0f} experts held for each one used"
    )


def headline(answers: Sequence[Curve]) -> str:
    """The answer at each text's largest budget, and how it moves with the budget; Markdown."""
    lines = []
    for found in answers:
        last = optimum_sentence(found.sparsity_star[:, -1], found.sparsity_top, found.compute_flops[-1])
        lines.append(f"- **{text_title(found.text)}:** {last}. {trend_sentence(found)}")
    return "\n".join(lines)


def trend_sentence(found: Curve) -> str:
    """Whether S* rises with the budget, as a probability over draws."""
    first, last = found.sparsity_star[:, 0], found.sparsity_star[:, -1]
    rises, falls = float(np.mean(last > first + 1e-6)), float(np.mean(last < first - 1e-6))
    span = f"from {flops_text(found.compute_flops[0])} to {flops_text(found.compute_flops[-1])} FLOPs"
    if max(rises, falls) < 0.8:
        shares = f"rises in {percent(rises)} of the draws, falls in {percent(falls)}"
        return f"Whether it rises or falls {span} is open: it {shares}."
    way, share = ("rises", rises) if rises > falls else ("falls", falls)
    return f"It {way} {span} in {percent(share)} of the draws."


def answer_table(answers: Sequence[Curve]) -> page.Html:
    """S* at every budget that was run, with the size and the data that go with it."""
    import pandas as pd

    frames = []
    for found in answers:
        frame = live.posterior_table(list(found.compute_flops), found.sparsity_star, found.sparsity_top)
        frame.insert(0, "text", text_title(found.text))
        frame = frame.rename(
            columns=lambda name: (
                "draws at the top" if name.startswith("draws at S =") and name != "draws at S = 0" else name
            )
        )
        frame["median N"] = [count_text(n) for n in np.median(found.params_star, axis=0)]
        frame["active"] = [count_text(n) for n in np.median(found.params_active_star, axis=0)]
        frame["bytes"] = [count_text(n) for n in np.median(found.tokens_star, axis=0)]
        frames.append(frame)
    return page.table(pd.concat(frames), "The optimal sparsity at the budgets that were run, size free")


def live_posterior(found: Curve) -> page.Html:
    """The slider over the posterior of S*."""
    title = f"The optimal sparsity, {text_title(found.text)}"
    return live.posterior_of_sparsity(
        list(found.compute_flops), found.sparsity_star, found.fitted, found.sparsity_top, title
    )


def loss_by_sparsity(found: Curve, points_per_doubling: int = 4) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Loss at the best width for each sparsity and budget: (sparsities [P], quantiles each [B, P]), nats."""
    family, model = Family(), posterior(found.text)
    widths = _widths(found.text)
    steps = int(round(points_per_doubling * float(live.doublings(found.sparsity_top))))
    grid = 1 - 2.0 ** -np.linspace(0, float(live.doublings(found.sparsity_top)), steps + 1)
    sparsity, width = (part.ravel() for part in np.meshgrid(grid, widths, indexing="ij"))
    counts = family.counts_at(width, sparsity)
    quantiles: dict[str, list[np.ndarray]] = {"low": [], "middle": [], "high": []}
    for budget in found.compute_flops:
        loss = live.thin(model.predict(counts.params, budget / counts.flops_per_token, sparsity), CURVE_DRAWS)
        best = loss.reshape(len(loss), len(grid), len(widths)).min(axis=2)
        for name, values in zip(quantiles, np.quantile(best, [0.05, 0.5, 0.95], axis=0), strict=True):
            quantiles[name].append(values)
    return grid, {name: np.stack(values) for name, values in quantiles.items()}


def _widths(text: str) -> np.ndarray:
    widths = profiles.done_runs(run_table(), text)["width"]
    return np.geomspace(widths.min(), widths.max(), 25)


def live_loss(found: Curve) -> page.Html:
    """The slider over the loss at the best size, against sparsity."""
    grid, loss = loss_by_sparsity(found)
    title = f"Loss at the best size, {text_title(found.text)}"
    return live.loss_against_sparsity(list(found.compute_flops), list(grid), loss, found.fitted, title)


def optimum_in_numbers(found: Curve) -> dict[str, str]:
    """What the chapter on the optimum quotes."""
    at_runs = answer(found.text)
    sentences = [
        optimum_sentence(at_runs.sparsity_star[:, i], at_runs.sparsity_top, budget)
        for i, budget in enumerate(at_runs.compute_flops)
    ]
    budget = at_runs.compute_flops[-1]
    saved, halved = prices_nats(found.text, budget)
    return {
        "optimum_verdict": " ".join(f"{s[0].upper()}{s[1:]}." for s in sentences)
        + " "
        + trend_sentence(at_runs),
        "wide_interval": "90 %",
        "price_verdict": (
            f"At {flops_text(budget)} FLOPs, the best sparse model is better than the best dense one by "
            f"{saved[1]:.3f} nats per byte (90 % interval {saved[0]:.3f} to {saved[2]:.3f}). Holding "
            "half as many "
            f"experts as is best costs {halved[1]:.3f} ({halved[0]:.3f} to {halved[2]:.3f})."
        ),
    }


def prices_nats(text: str, compute_flops: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (.05, .5, .95) of what it costs to be dense, and to hold half the best E/K; nats."""
    family, model = Family(), posterior(text)
    found, widths = answer(text), _widths(text)
    top = float(live.doublings(found.sparsity_top))
    doublings = np.linspace(0, top, 8 * round(top) + 1)
    sparsity, width = (part.ravel() for part in np.meshgrid(1 - 2.0**-doublings, widths, indexing="ij"))
    counts = family.counts_at(width, sparsity)
    loss = model.predict(counts.params, compute_flops / counts.flops_per_token, sparsity)
    best_by_sparsity = loss.reshape(len(loss), len(doublings), len(widths)).min(axis=2)
    at = best_by_sparsity.argmin(axis=1)
    rows = np.arange(len(loss))
    lowest = best_by_sparsity[rows, at]
    half = best_by_sparsity[rows, np.maximum(0, at - 8)]
    levels = [0.05, 0.5, 0.95]
    return np.quantile(best_by_sparsity[:, 0] - lowest, levels), np.quantile(half - lowest, levels)


def fixed_size_table(found: Curve) -> page.Html:
    """S* with compute and size both fixed, at the budgets and at sizes between those that were trained."""
    import pandas as pd

    from moebook.optimum import optimum

    runs = profiles.done_runs(run_table(), found.text)
    rows = []
    for budget in fitted_budgets(found.text):
        part = runs[runs["budget_flops"] == budget]
        sizes = np.geomspace(part["params"].min(), part["params"].max(), 5)[1:-1]
        for size in sizes:
            at = optimum(posterior(found.text), compute_flops=budget, params=float(size))
            low, _, middle, _, high = np.quantile(at.sparsity_star, live.QUANTILES)
            rows.append(
                {
                    "C (FLOPs)": flops_text(budget),
                    "N": count_text(size),
                    "median S*": live.sparsity_decimal(middle),
                    "90 % interval": f"{live.sparsity_decimal(low)} to {live.sparsity_decimal(high)}",
                    "verdict": at.verdict,
                }
            )
    return page.table(
        pd.DataFrame(rows), f"{text_title(found.text)}: the optimal sparsity, compute and size fixed"
    )


def middle_budget() -> float:
    """A budget in the middle of those that were run, for examples."""
    budgets = fitted_budgets(texts()[0])
    return budgets[len(budgets) // 2]


def claims_in_words(probabilities: Mapping[str, float]) -> dict[str, str]:
    """Each probability in words."""
    return {name: likelihood(value) for name, value in probabilities.items()}
