"""What the optimum owes to the learning rate: the same fit to the losses that another would have given."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from moebook.bayes import Posterior
from moebook.book import profiles
from moebook.book.contents.curves import fitted_budgets, optimum_of, posterior
from moebook.book.contents.hindsight import ends_in_words, fit_again
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.contents.tuning import TUNING, rate_rule, tuning_studies
from moebook.book.say import listed
from moebook.errors import InputError
from moebook.figures import page
from moebook.figures.live import doublings
from moebook.figures.style import flops_text, sparsity_text
from moebook.study.wrong_rate import changes_nats

if TYPE_CHECKING:
    from moebook.optimum import Optimum

FACTORS = (0.5, 1.0, 2.0)


def study_of(text: str) -> str | None:
    """The tuning study of a text whose runs show a rule for the rate, if there is one."""
    table = run_table()
    for study in tuning_studies():
        if text in set(table.loc[(table["study"] == study) & (table["purpose"] == TUNING), "text"]):
            try:
                rate_rule(study)
            except InputError:
                continue
            return study
    return None


@cache
def at_factor(text: str, factor: float) -> Posterior:
    """The stored fit made again with the losses that the runs would have had at `factor` times their rate."""
    runs = profiles.done_runs(run_table(), text)
    moved = runs["loss_nats"] + changes_nats(rate_rule(study_of(text)), runs, factor)
    return fit_again(text, runs.assign(loss_nats=moved), f"at {factor:g} times its rates")


def wrong_rate_optimum(text: str) -> page.Html:
    """S* at every budget, had every rate been half, once or twice what it was; empty where none was tuned."""
    import pandas as pd

    if study_of(text) is None:
        return page.Html("")
    rows = []
    for budget in fitted_budgets(text):
        row = {"C (FLOPs)": flops_text(budget)}
        for factor in FACTORS:
            low, middle, high = ends_in_words(_optimum(text, factor, budget))
            row[f"rate × {factor:g}"] = f"{middle} ({low} to {high})"
        rows.append(row)
    return page.table(
        pd.DataFrame(rows),
        f"{text_title(text)}: the optimal sparsity, median and 90 % interval, had every rate been half, "
        "once or twice what it was",
    )


def wrong_rate_optimum_in_words(text: str) -> str:
    """Whether the medians at other rates stay within the interval of the rates that were used; Markdown."""
    if study_of(text) is None:
        return f"- **{text_title(text)}:** no rate was tuned, so this cannot be asked."
    outside, moves = [], []
    for budget in fitted_budgets(text):
        found = {factor: _optimum(text, factor, budget) for factor in FACTORS}
        low, high = found[1.0].interval(0.9)
        at = {factor: float(doublings(each.median())) for factor, each in found.items()}
        moves += [abs(at[factor] - at[1.0]) for factor in (0.5, 2.0)]
        outside += [f"{f:g} times at {flops_text(budget)} FLOPs" for f in (0.5, 2.0)
                    if not low <= found[f].median() <= high]  # fmt: skip
    told = (
        "leave the median inside the interval at every budget"
        if not outside
        else f"leave the median inside the interval, but for {listed(outside)}, where it lies outside"
    )
    return (
        f"- **{text_title(text)}:** half and twice the rates {told}. They move it by {max(moves):.1f} "
        f"doublings of *E*/*K* at most.{_beyond(text)}"
    )


def _optimum(text: str, factor: float, compute_flops: float) -> Optimum:
    if factor == 1.0:
        return optimum_of(posterior, text, compute_flops=compute_flops)
    return optimum_of(at_factor, text, factor, compute_flops=compute_flops)


def _beyond(text: str) -> str:
    """A sentence on the sparsities that no rate was tuned at."""
    table = run_table()
    tuned = table[(table["purpose"] == TUNING) & (table["text"] == text)]["sparsity"].max()
    reached = profiles.done_runs(table, text)["sparsity"].max()
    if not reached > tuned:
        return ""
    return f" Above S = {sparsity_text(float(tuned))} the rule is extrapolated, and with it this answer."


def tuned_texts() -> list[str]:
    """The texts whose rates were tuned."""
    return [text for text in texts() if study_of(text) is not None]
