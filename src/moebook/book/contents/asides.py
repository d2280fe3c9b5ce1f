"""What the chapters say of runs that were made for a purpose of their own: what for, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebook.book.contents.runs import text_title
from moebook.book.say import listed
from moebook.figures import page
from moebook.figures.style import flops_text, sparsity_text

if TYPE_CHECKING:
    import pandas

GRANULARITY = "granularity"
#: What each purpose means; another is shown as it is called.
MEANING = {
    "tuning": "to find the learning rate and the batch",
    GRANULARITY: "to compare whole experts, parts of experts and a shared one",
    "held-out": "to be forecast before they were made",
    "first-recipe": "by an earlier recipe, whose rate was not tuned",
}
#: A cell: what must be the same in two runs that differ in how their experts are cut.
_CELL = ["text", "budget_flops", "width", "sparsity", "seed", "learning_rate", "batch_tokens", "numerics"]
_CUT = ["granularity", "active", "shared_experts"]


def purposes(table: pandas.DataFrame) -> str:
    """How many runs no law is fitted to, and what they were made for; Markdown."""
    aside = table[table["purpose"] != ""]["purpose"]
    if aside.empty:
        return "Every run is one of the study; none was made for a purpose of its own."
    parts = [f"{n} {MEANING.get(name, f'for {name}')}" for name, n in aside.value_counts().items()]
    return (
        f"{len(aside)} runs are set aside: they stay in the table, marked by their `purpose`, and no law is "
        f"fitted to them. Of these, {listed(parts)}."
    )


def cut(granularity: int, active: int, shared: int) -> str:
    """How experts are cut, in words."""
    size = {1: "whole", 2: "halves", 4: "quarters"}.get(granularity, f"parts of 1/{granularity}")
    return f"{active} {size}" + (f" and {shared} shared" if shared else "")


def granularity_runs(table: pandas.DataFrame) -> pandas.DataFrame:
    """The runs that differ in how their experts are cut and in nothing else, those of the study among them;
    with `budget_flops`, two digits of the compute, and `cut`, in words. Empty where none was made."""
    done = table[table["status"] == "done"]
    done = done.assign(budget_flops=[float(f"{c:.1e}") for c in done["compute_flops"]])
    done["learning_rate"] = done["learning_rate"].round(12)
    made = done[done["purpose"] == GRANULARITY]
    rows = done[done["purpose"].isin(["", GRANULARITY])].merge(made[_CELL].drop_duplicates(), on=_CELL)
    words = [cut(*map(int, row)) for row in rows[_CUT].itertuples(index=False)]
    return rows.assign(cut=words).drop_duplicates([*_CELL, *_CUT]).reset_index(drop=True)


def granularity_table(table: pandas.DataFrame) -> page.Html:
    """The loss by how experts are cut, a column a sparsity: the mean over seeds, with its standard error from
    the spread between seeds, pooled over the table."""
    import pandas as pd

    runs = granularity_runs(table)
    if runs.empty:
        return page.Html("")
    rows = []
    for (text, budget, width), part in runs.groupby(["text", "budget_flops", "width"]):
        cells = part.groupby([*_CUT, "cut", "sparsity"])["loss_nats"]
        freedom = int((cells.count() - 1).sum())
        sd = float(np.sqrt((cells.var(ddof=1) * (cells.count() - 1)).sum() / freedom)) if freedom else np.nan
        for (*_, words), row in part.groupby([*_CUT, "cut"]):
            entry = {"text": text_title(str(text)), "C (FLOPs)": flops_text(float(budget)),
                     "width": int(width), "experts a token uses": words}  # fmt: skip
            for sparsity, losses in row.groupby("sparsity")["loss_nats"]:
                error = f" ± {sd / np.sqrt(len(losses)):.3f}" if freedom else ""
                entry[f"S = {sparsity_text(float(sparsity))}"] = f"{losses.mean():.3f}{error}"
            rows.append(entry)
    return page.table(
        pd.DataFrame(rows).fillna(""), "Loss (nats per byte) by how the experts are cut; all models of a row "
        "of budgets, sizes and sparsities cost the same", wrap=("experts a token uses",),
    )  # fmt: skip


def granularity_in_words(table: pandas.DataFrame) -> str:
    """Which cut has the lowest loss, and by how much beside its error; Markdown."""
    runs = granularity_runs(table)
    if runs.empty:
        return "No run of this table was made with experts cut otherwise."
    lines = []
    for (text, budget), part in runs.groupby(["text", "budget_flops"]):
        # Cells and seeds have levels of their own: a cut is compared with the others in the same cell.
        wide = part.pivot_table(index=_CELL, columns="cut", values="loss_nats").dropna()
        if len(wide) < 2 or wide.shape[1] < 2:
            continue
        means = wide.mean().sort_values()
        gap = wide[means.index[-1]] - wide[means.index[0]]
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        sure = "more than twice its standard error" if gap.mean() > 2 * error else "within twice its error"
        lines.append(
            f"**{text_title(str(text))}**, {flops_text(float(budget))} FLOPs: over {len(wide)} cells and "
            f"seeds, {means.index[0]} have the lowest mean loss and {means.index[-1]} the highest; the "
            f"difference is {gap.mean():.3f} ± {error:.3f} nats, {sure}."
        )
    return "\n\n".join(lines)
