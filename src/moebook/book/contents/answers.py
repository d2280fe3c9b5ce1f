"""The answer: what the posterior of the optimum says, in sentences, tables and figures.

Arrays of optima are [draws, budgets]; sparsities lie in [0, 1), budgets in FLOPs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moebook.book import profiles
from moebook.book.contents.curves import Curve, answer, fitted_budgets, optimum_of, posterior
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.say import likelihood_rule, listed
from moebook.figures import live, page
from moebook.figures import optimum as figures
from moebook.figures.style import count_text, flops_text, percent, sparsity_text


def optimum_sentence(found: Curve, index: int) -> str:
    """What the draws of S* say at the budget of that index, in a sentence to repeat.

    Where the optimum calls itself not identified, the sentence says so, with the reason.
    """
    star, verdict = found.sparsity_star[:, index], found.verdicts[index]
    low, _, middle, _, high = live.quantile_texts(np.quantile(star, live.QUANTILES), found.sparsity_top)
    near_zero, near_top = live.edge_shares(star, found.sparsity_top)
    opening = f"at {flops_text(found.compute_flops[index])} FLOPs"
    if verdict == "identified":
        few, many = (1 / (1 - value) for value in np.quantile(star, [0.05, 0.95]))
        sentence = (
            f"{opening}, the best sparsity is {middle}, and with 90 % probability it lies between {low} and "
            f"{high}: {few:.0f} to {many:.0f} experts held for each one used"
        )
        if near_top >= 0.01:
            sentence += (
                f". {percent(near_top)} of the draws lie at the largest sparsity trained, "
                f"{sparsity_text(found.sparsity_top)}, of which this budget has "
                f"{_runs_at_top(found, index)}: it may be higher"
            )
        return sentence
    if near_top > 0.05:
        return (
            f"{opening}, the best sparsity is at least {low} with 95 % probability. How much more is not "
            f"identified: {percent(near_top)} of the posterior lies at the largest sparsity trained, "
            f"{sparsity_text(found.sparsity_top)}{_coverage(found, index)}"
        )
    return (
        f"{opening}, the best sparsity is {plain_verdict(verdict, found.sparsity_top)}. The draws span {low} "
        f"to {high}, with median {middle}"
    )


def _runs_at_top(found: Curve, index: int) -> str:
    """How many runs of a budget have the largest sparsity, in words."""
    runs = profiles.done_runs(run_table(), found.text)
    at = np.isclose(runs["budget_flops"], found.compute_flops[index], rtol=0.01)
    count = int((at & np.isclose(runs["sparsity"], found.sparsity_top)).sum())
    return f"{count} run{'s' * (count != 1)}" if count else "no run"


def _coverage(found: Curve, index: int) -> str:
    """What was not run at a budget, as further sentences without the last full stop; may be empty."""
    said = ""
    if found.sparsity_run and not np.isclose(found.sparsity_run[index], found.sparsity_top):
        said += (
            f". At this budget nothing sparser than {sparsity_text(found.sparsity_run[index])} was run: what "
            "lies above comes from the law and the other budgets"
        )
    if found.sizes_run and found.sizes_run[index] == 1:
        said += ". At this budget one size was run for each sparsity: which size is best comes from the law"
    return said


def headline(answers: Sequence[Curve]) -> str:
    """The answer at the largest budget at which the largest sparsity was run, and how it moves; Markdown."""
    lines = []
    for found in answers:
        last = optimum_sentence(found, found.headline_index)
        lines.append(f"- **{text_title(found.text)}:** {last}. {trend_sentence(found)}")
    return "\n".join(lines)


def plain_verdict(verdict: str, sparsity_top: float) -> str:
    """A verdict in the words of the chapters: draws, and sparsity as a fraction."""
    plain = verdict.replace("of the mass lies", "of the draws lie").replace("fitted", "trained")
    return plain.replace(f"S = {sparsity_top:.4g}", f"S = {sparsity_text(sparsity_top)}")


def trend_sentence(found: Curve) -> str:
    """Whether S* rises with the budget, as a probability over draws."""
    first, last = found.sparsity_star[:, 0], found.sparsity_star[:, -1]
    rises, falls = float(np.mean(last > first + 1e-6)), float(np.mean(last < first - 1e-6))
    span = f"from {flops_text(found.compute_flops[0])} to {flops_text(found.compute_flops[-1])} FLOPs"
    if max(rises, falls) < 0.8:
        tied = float(np.mean(np.abs(last - first) <= 1e-6))
        at_top = live.edge_shares(np.minimum(first, last), found.sparsity_top)[1]
        how = (
            ", at the largest sparsity trained at both ends," if np.isclose(tied, at_top, atol=0.005) else ""
        )
        shares = (
            f"rises in {percent(rises)} of the draws, falls in {percent(falls)} and stays the same{how} in "
            f"{percent(tied)}"
        )
        return f"Whether it rises or falls {span} is open: it {shares}."
    way, share = ("higher", rises) if rises > falls else ("lower", falls)
    ends = f"{flops_text(found.compute_flops[-1])} than at {flops_text(found.compute_flops[0])} FLOPs"
    middle = np.median(found.sparsity_star, axis=0)
    steps = np.diff(middle)
    even = (steps >= 0).all() if rises > falls else (steps <= 0).all()
    between = "" if even else ", though its median does not go one way at every step between"
    return f"It is {way} at {ends} in {percent(share)} of the draws{between}."


def answer_table(found: Curve) -> page.Html:
    """S* of one text at every budget that was run, with the size and the data that go with it."""
    frame = live.posterior_table(list(found.compute_flops), found.sparsity_star, found.sparsity_top)
    frame = frame.drop(columns=["50 % interval", "draws at S = 0"])
    frame["median N"] = [count_text(n) for n in np.median(found.params_star, axis=0)]
    frame["median active"] = [count_text(n) for n in np.median(found.params_active_star, axis=0)]
    frame["training bytes"] = [count_text(n) for n in np.median(found.tokens_star, axis=0)]
    return page.table(
        frame,
        f"{text_title(found.text)}: the optimal sparsity at the budgets that were run, size chosen freely",
    )


def live_posterior(found: Curve) -> page.Html:
    """The slider over the posterior of S*."""
    title = f"The optimal sparsity, {text_title(found.text)}"
    return live.posterior_of_sparsity(
        list(found.compute_flops), found.sparsity_star, found.fitted, found.sparsity_top, title
    )


def live_loss(found: Curve) -> page.Html:
    """The slider over the loss at the best size, against sparsity."""
    title = f"Loss at the best size, {text_title(found.text)}"
    return live.loss_against_sparsity(
        list(found.compute_flops), list(found.sparsity_grid), found.loss_nats, found.fitted, title,
        saved_nats=found.saved_nats,
    )  # fmt: skip


def optimum_in_numbers() -> dict[str, str]:
    """What the chapter on the optimum quotes: interval, and the rules behind its words."""
    from moebook.optimum.best import EDGE_LIMIT, TAUGHT_FROM

    return {
        "wide_interval": "90 %",
        "likelihood_rule": likelihood_rule(),
        "identified_rule": (
            f"An optimum is called “not identified” where more than {100 * EDGE_LIMIT:.0f} % of the draws "
            "lie at the end of the range that was searched (the largest sparsity, or the smallest or largest "
            f"width), where dense is best in more than {100 * EDGE_LIMIT:.0f} % and less than "
            f"{100 - 100 * EDGE_LIMIT:.0f} % of them, or "
            f"where the data narrow the prior's spread of it by less than {100 * TAUGHT_FROM:.0f} %."
        ),
    }


def verdicts(text: str) -> str:
    """What the draws say at every budget that was run, a line each, and the trend; Markdown."""
    at_runs = answer(text)
    sentences = [optimum_sentence(at_runs, index) for index in range(len(at_runs.compute_flops))]
    lines = [f"- {s[0].upper()}{s[1:]}." for s in sentences]
    return "\n".join([f"**{text_title(text)}:**", "", *lines, "", trend_sentence(at_runs)])


def without_a_law(text: str) -> str:
    """What a parabola through the losses alone says of S*, beside the posterior's medians; Markdown."""
    found = answer(text)
    best = profiles.best_sizes(profiles.cells(profiles.done_runs(run_table(), text)))
    parts, outside = [], []
    for index, budget in enumerate(found.compute_flops):
        bare = profiles.parabola_sparsity(best, float(budget))
        low, median, high = np.quantile(found.sparsity_star[:, index], [0.05, 0.5, 0.95])
        says = "has no lowest point inside" if bare is None else f"{bare:.3f}"
        parts.append(f"{says} at {flops_text(float(budget))} FLOPs (posterior {median:.3f})")
        if bare is not None and not low <= bare <= high:
            where = f"the 90 % interval at {flops_text(float(budget))} ({low:.3f} to {high:.3f})"
            outside.append(f"{'below' if bare < low else 'above'} {where}")
    apart = f" It lies {listed(outside)}." if outside else ""
    return f"- **{text_title(text)}:** {', '.join(parts)}.{apart}"


def price(text: str) -> str:
    """What it costs to be dense, or half as sparse, at the budget of the headline; Markdown."""
    at_runs = answer(text)
    budget = float(at_runs.compute_flops[at_runs.headline_index])
    saved, halved = prices_nats(text, budget)
    return (
        f"- **{text_title(text)}:** at {flops_text(budget)} FLOPs, compared draw by draw, the best sparse "
        f"model is better than the best dense one by {saved[1]:.3f} nats per byte (90 % interval "
        f"{saved[0]:.3f} to {saved[2]:.3f}). Holding half as many experts as is best costs "
        f"{halved[1]:.3f} ({halved[0]:.3f} to {halved[2]:.3f}).{dense_open(text, budget)}"
    )


def dense_open(text: str, compute_flops: float) -> str:
    """A sentence where the dense models of a budget were still improving at the end of their widths."""
    best = profiles.best_sizes(profiles.cells(profiles.done_runs(run_table(), text)))
    dense = best[np.isclose(best["compute_flops"], compute_flops) & (best["sparsity"] == 0)]
    if dense.empty or dense["bracketed"].iloc[0]:
        return ""
    return (
        f" The best dense model of this budget is the {dense['flag'].iloc[0]} that was tried (width "
        f"{int(dense['width'].iloc[0])}), so that another size may be better: the first of these numbers may "
        "be too large."
    )


def prices_nats(text: str, compute_flops: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (.05, .5, .95) of what it costs to be dense, and to hold half the best E/K; nats."""
    found = optimum_of(posterior, text, compute_flops=compute_flops)
    at = live.doublings(found.sparsity_grid)
    half = np.maximum(live.doublings(found.sparsity_star) - 1, 0)
    loss_at_half = np.array(
        [np.interp(x, at, line) for x, line in zip(half, found.loss_profile_nats, strict=True)]
    )
    levels = [0.05, 0.5, 0.95]
    dense = found.loss_profile_nats[:, 0] - found.loss_star_nats
    return np.quantile(dense, levels), np.quantile(loss_at_half - found.loss_star_nats, levels)


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
            quantiles = np.quantile(at.sparsity_star, live.QUANTILES)
            low, _, middle, _, high = live.quantile_texts(quantiles, float(at.sparsity_grid[-1]))
            dense, _ = live.edge_shares(at.sparsity_star, float(at.sparsity_grid[-1]))
            verdict = plain_verdict(at.verdict, float(at.sparsity_grid[-1]))
            if 0.01 <= dense and "dense" not in verdict:
                verdict += f"; dense is best in {percent(dense)}"
            rows.append(
                {
                    "C (FLOPs)": flops_text(budget),
                    "N": count_text(size),
                    "median S*": f"at the {middle}" if middle.startswith("edge") else middle,
                    "90 % interval": live.span(low, high),
                    "verdict": verdict,
                }
            )
    return page.table(
        pd.DataFrame(rows),
        f"{text_title(found.text)}: the optimal sparsity, compute and size fixed",
        wrap=("verdict",),
    )


def middle_budget() -> float:
    """A budget in the middle of those that were run, for examples."""
    budgets = fitted_budgets(texts()[0])
    return budgets[len(budgets) // 2]


def spread_figure(found: Curve) -> page.Html:
    """Median and intervals of S* against the budget."""
    figure = figures.sparsity_by_budget(
        list(found.compute_flops), found.sparsity_star, found.fitted, found.sparsity_top
    )
    return page.show(
        figure,
        "Median and intervals of the optimal sparsity against training compute.",
        f"{text_title(found.text)}: posterior of the optimal sparsity. In the shaded part there are no runs: "
        "there only the law and the assumed drift of its error speak.",
    )


def bibtex() -> str:
    """BibTeX of the headline's answer for the first text."""
    from moebook.cite.estimate import of_optimum

    found = answer(texts()[0])
    budget = float(found.compute_flops[found.headline_index])
    return of_optimum(optimum_of(posterior, found.text, compute_flops=budget)).bibtex()
