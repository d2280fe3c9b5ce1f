"""What the chapters say of runs that were made for a purpose of their own: what for, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebook.book.contents.runs import text_title
from moebook.book.say import listed
from moebook.figures import page
from moebook.figures.style import count_text, flops_text

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
_CELL = ["text", "budget_flops", "width", "seed", "batch_tokens", "numerics"]
_CUT = ["granularity", "active", "shared_experts"]
#: Two models whose sizes differ by less than this, in logarithms, are of one size here.
NEAR = 0.15


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
    known = {1: ("whole", "whole"), 2: ("half", "halves"), 4: ("quarter", "quarters")}
    one, several = known.get(granularity, (f"1/{granularity}", f"parts of 1/{granularity}"))
    size = one if active == 1 else several
    return f"{active} {size}" + (f" and {shared} shared {one if shared == 1 else several}" if shared else "")


def granularity_runs(table: pandas.DataFrame) -> pandas.DataFrame:
    """The runs that differ in how their experts are cut, and the study's own of the same budget, width and
    seed that are nearest in size N; with `budget_flops`, two digits of the compute, `cut`, in words, and
    `like`, the sparsity of that run of the study. Empty where none was made."""
    import pandas as pd

    done = table[table["status"] == "done"]
    done = done.assign(budget_flops=[float(f"{c:.1e}") for c in done["compute_flops"]])
    own = done[done["purpose"] == ""]
    rows = []
    for _, run in done[done["purpose"] == GRANULARITY].iterrows():
        same = own[(own[_CELL] == run[_CELL]).all(axis=1) & (own["sparsity"] > 0)]
        far = np.abs(np.log(same["params"] / run["params"]))
        if len(same) and far.min() < NEAR:
            nearest = same.loc[far.idxmin()]
            rows += [run.to_dict() | {"like": nearest["sparsity"]},
                     nearest.to_dict() | {"like": nearest["sparsity"]}]  # fmt: skip
    found = pd.DataFrame(rows).drop_duplicates("key") if rows else done.iloc[:0].assign(like=[])
    words = [cut(*map(int, row)) for row in found[_CUT].itertuples(index=False)]
    return found.assign(cut=words).reset_index(drop=True)


def granularity_table(table: pandas.DataFrame) -> page.Html:
    """Size and loss by how experts are cut; the loss is the mean over seeds, with its standard error from the
    spread between seeds, pooled over the table."""
    import pandas as pd

    runs = granularity_runs(table)
    if runs.empty:
        return page.Html("")
    cells = runs.groupby([*_CUT, "like", "text", "budget_flops", "width"])["loss_nats"]
    freedom = int((cells.count() - 1).sum())
    sd = float(np.sqrt((cells.var(ddof=1) * (cells.count() - 1)).sum() / freedom)) if freedom else np.nan
    rows = []
    for (text, budget, _, _, *_), part in runs.groupby(
        ["text", "budget_flops", "like", "granularity", "active", "shared_experts"]
    ):
        first, losses = part.iloc[0], part["loss_nats"]
        error = f" ± {sd / np.sqrt(len(losses)):.3f}" if freedom else ""
        rows.append(
            {"text": text_title(str(text)), "C (FLOPs)": flops_text(float(budget)),
             "experts a token uses": first["cut"], "of": str(int(first["experts"])),
             "N": count_text(first["params"]), "active": count_text(first["params_active"]),
             "bytes seen": count_text(first["tokens"]), "loss (nats/byte)": f"{losses.mean():.3f}{error}"}
        )  # fmt: skip
    return page.table(
        pd.DataFrame(rows), "Experts cut in different ways, at the same budget and width",
        wrap=("experts a token uses",),
    )  # fmt: skip


def granularity_in_words(table: pandas.DataFrame) -> str:
    """What each cut gains or loses against the study's own, with a 95 % interval; Markdown."""
    from scipy import stats

    runs = granularity_runs(table)
    if runs.empty:
        return "No run of this table was made with experts cut otherwise."
    lines = []
    own = runs[runs["purpose"] == ""].set_index([*_CELL, "like"])["loss_nats"]
    for words, part in runs[runs["purpose"] == GRANULARITY].groupby("cut", sort=False):
        # Budget, size and seed have levels of their own: only runs of the same are compared.
        gap = (part.set_index([*_CELL, "like"])["loss_nats"] - own).dropna()
        if len(gap) < 2:
            continue
        half = float(stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
        mean = float(gap.mean())
        same = "a difference that these do not resolve"
        verdict = "worse" if mean > half else "better" if mean < -half else same
        lines.append(f"- {words}: {mean:+.3f} ± {half:.3f} nats in {len(gap)} pairs, {verdict}")
    return (
        "Against the study's own cut at the same budget, width and seed, and at nearly the same number of "
        "parameters (the mean difference of the losses, with a 95 % interval):\n\n" + "\n".join(lines)
    )
