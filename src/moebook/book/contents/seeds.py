"""What the chapters say and show of the noise between seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from moebook.book import profiles
from moebook.book.contents.runs import by_sparsity, text_title, texts
from moebook.book.say import listed, rounded
from moebook.figures import page
from moebook.figures.style import flops_text

if TYPE_CHECKING:
    import pandas


def noise(table: pandas.DataFrame) -> str:
    """The noise between seeds and the gain of sparsity against it, a line a text; Markdown."""
    lines = []
    for text in texts():
        runs = profiles.done_runs(table, text)
        repeated = profiles.replicates(runs)
        if repeated.empty:
            lines.append(
                f"- **{text_title(text)}:** no model was trained twice, so its noise is not measured."
            )
            continue
        sd = profiles.seed_sd_nats(repeated)
        budgets = sorted({float(c) for c in repeated["budget_flops"]})
        without = sorted({float(c) for c in runs["budget_flops"]} - set(budgets))
        cells = repeated.groupby(["budget_flops", "sparsity", "width"]).ngroups
        freedom = len(repeated) - cells
        one, two = (rounded(x, sd / math.sqrt(2 * freedom)) for x in (sd, math.sqrt(2) * sd))
        paired = profiles.same_seed_sd_nats(repeated)
        gain, _ = profiles.gain_nats(profiles.best_sizes(profiles.cells(runs)), budgets[-1])
        gap = (
            f"the best sparse model beats the best dense one by {gain:.3f}, "
            f"{gain / (math.sqrt(2) * sd):.1f} standard deviations of two runs of different seeds"
            if gain > 0
            else "no sparse model beats the best dense one"
        )
        lines.append(
            f"- **{text_title(text)}:** the standard deviation between seeds is {one} nats per byte, pooled "
            f"over {cells} models at {listed([flops_text(c) for c in budgets])} FLOPs. The difference of "
            f"two runs of different seeds has {two}"
            + (f", of two of the same seed and width {paired:.3f}" if paired else "")
            + f". At {flops_text(budgets[-1])} FLOPs, {gap}."
            + (
                f" At {listed([flops_text(c) for c in without])} FLOPs each model was trained once: the "
                "noise there is not measured."
                if without
                else ""
            )
        )
    return "\n".join(lines)


def noise_table(table: pandas.DataFrame) -> page.Html:
    """The noise between seeds by budget and sparsity, a column a sparsity."""
    found = profiles.noise_by_cell(profiles.done_runs(table))
    found["cell"] = [
        f"{1000 * sd:.0f} ({runs:.0f})" if models else "–"
        for sd, models, runs in zip(found["sd_nats"], found["models"], found["runs"], strict=True)
    ]
    wide = found.pivot(index=["text", "budget_flops"], columns="sparsity", values="cell").fillna("")
    return page.table(
        by_sparsity(wide),
        "Standard deviation between seeds, thousandths of a nat per byte, pooled over the models that were "
        "trained more than once; in brackets, their runs. A dash: none was",
    )
