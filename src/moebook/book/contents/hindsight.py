"""What the optimum owes to the largest budget: the same fit without it, asked the same questions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from moebook.bayes import Posterior
from moebook.book import profiles
from moebook.book.contents.curves import fitted_budgets, optimum_of, posterior
from moebook.book.contents.runs import run_table, text_title
from moebook.figures import live, page
from moebook.figures.style import flops_text

if TYPE_CHECKING:
    import pandas

    from moebook.optimum import Optimum


@cache
def without_largest(text: str) -> Posterior:
    """The stored fit of a text made again, same law, priors, sampler and seed, without its largest budget."""
    runs = profiles.done_runs(run_table(), text)
    earlier = runs[runs["budget_flops"] < runs["budget_flops"].max()]
    return fit_again(text, earlier, "without its largest budget")


def fit_again(text: str, runs: pandas.DataFrame, what: str) -> Posterior:
    """The stored fit of a text made again with other runs, or with runs that were changed."""
    from moebook.bayes import Priors, Sampler, fit

    stored = posterior(text)
    made = stored.summary["ingredients"]
    return fit(
        runs[[*stored.law.columns, "loss_nats", "compute_flops"]], stored.law, seed=made["seed"],
        priors=Priors(**made["priors"]), sampler=Sampler(**made["sampler"]),
        source=f"{text_title(text)}, {what}", progress=False,
    )  # fmt: skip


def hindsight_table(text: str) -> page.Html:
    """S* at every budget, from all runs and from those below the largest budget."""
    import pandas as pd

    rows = []
    for budget in fitted_budgets(text):
        row = {"C (FLOPs)": flops_text(budget)}
        for name, (low, middle, high) in _both(text, budget).items():
            row |= {f"{name}: median": middle, f"{name}: 90 % interval": live.span(low, high)}
        rows.append(row)
    return page.table(
        pd.DataFrame(rows),
        f"{text_title(text)}: the optimal sparsity, with and without the runs of the largest budget",
    )


def hindsight_in_words(text: str) -> str:
    """Whether the runs below the largest budget foresaw its optimum, in a sentence; Markdown."""
    budget = fitted_budgets(text)[-1]
    before = optimum_of(without_largest, text, compute_flops=budget)
    after = optimum_of(posterior, text, compute_flops=budget)
    low, high = before.interval(0.9)
    held = "holds" if low <= after.median() <= high else "does not hold"
    # Widths compared in doublings of the experts held for each one used.
    widths = [float(np.ptp(live.doublings(np.array(found.interval(0.9))))) for found in (before, after)]
    verdict = "" if before.identified else f" From those runs alone it was {before.verdict.split(':')[0]}."
    return (
        f"- **{text_title(text)}:** the interval from runs below {flops_text(budget)} FLOPs {held} the "
        f"median from all runs. It spans {widths[0]:.1f} doublings of the experts held for each one used; "
        f"with the runs of that budget, {widths[1]:.1f}.{verdict}"
    )


def _both(text: str, compute_flops: float) -> dict[str, tuple[str, str, str]]:
    fits = (("all runs", posterior), ("without the largest", without_largest))
    return {name: ends_in_words(optimum_of(fit, text, compute_flops=compute_flops)) for name, fit in fits}


def ends_in_words(found: Optimum) -> tuple[str, str, str]:
    """The 5 % quantile, the median and the 95 % quantile of S*, as a table has them."""
    quantiles = np.quantile(found.sparsity_star, live.QUANTILES)
    low, _, middle, _, high = live.quantile_texts(quantiles, float(found.sparsity_grid[-1]))
    return low, middle, high
