"""What the chapters say and show of sparsity with the budget and a size fixed: the active size, or N."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebook.book import profiles
from moebook.book.contents.runs import text_title, texts
from moebook.figures import page
from moebook.figures import runs as figures
from moebook.figures.style import count_text, flops_text, sparsity_text

if TYPE_CHECKING:
    import pandas


def fixed_width_figures(table: pandas.DataFrame, text: str) -> page.Html:
    """Loss against sparsity of one text at fixed active size: a panel a budget, a line a width."""
    cells = profiles.cells(profiles.done_runs(table, text))
    panels = []
    for budget in sorted(set(cells["compute_flops"])):
        label = f"{text_title(text)}: loss against sparsity at {flops_text(budget)} FLOPs, by width."
        panels.append((figures.loss_by_sparsity(cells, budget), label))
    return page.grid(
        panels, f"{text_title(text)}: held-out loss against sparsity at fixed compute, a line for each width."
    )


def fixed_params_figures(table: pandas.DataFrame, text: str) -> page.Html:
    """Loss against sparsity of one text at fixed N, interpolated: a panel a budget, a line a size."""
    rows = profiles.at_sizes(profiles.cells(profiles.done_runs(table, text)))
    panels = []
    for budget in sorted(set(rows["compute_flops"])):
        label = f"{text_title(text)}: loss against sparsity at {flops_text(budget)} FLOPs, by size N."
        panels.append((figures.loss_at_sizes(rows, budget), label))
    return page.grid(
        panels,
        f"{text_title(text)}: held-out loss against sparsity at fixed compute and fixed N (all parameters), "
        "interpolated: straight lines in log N between the models of a budget and sparsity, never beyond "
        "them. The large point is the lowest of its line, hollow where it is at an end, so that the best "
        "sparsity may lie beyond. Sparsities that have no models around a size are missing from its line.",
    )


def fixed_params_in_words(table: pandas.DataFrame) -> str:
    """Whether the best sparsity at fixed N lies inside, and whether it rises with N, a line a text; Markdown.

    This is the paper's H4 as the runs have it, without a law.
    """
    lines = []
    for text in texts():
        runs = profiles.done_runs(table, text)
        rows = profiles.at_sizes(profiles.cells(runs))
        if rows.empty:
            lines.append(f"- **{text_title(text)}:** no size is reached by three sparsities.")
            continue
        said = _at_the_ends(rows[rows["compute_flops"] == rows["compute_flops"].max()])
        noise = profiles.difference_sd_nats(runs)
        lines.append(f"- **{text_title(text)}:** {said}" + (_clear(rows, noise) if noise else ""))
    return "\n".join(lines)


def _at_the_ends(rows: pandas.DataFrame) -> str:
    """Where the lowest points of the smallest and of the largest N of a budget lie, a sentence."""
    parts = []
    for size in sorted({rows["size"].min(), rows["size"].max()}):
        line = rows[rows["size"] == size].sort_values("sparsity")
        at, last = int(line["loss_nats"].argmin()), len(line) - 1
        where = {0: "the least sparse", last: "the sparsest"}.get(at, "inside")
        parts.append(
            f"with N = {count_text(line['params'].iloc[0])}, the lowest of {len(line)} sparsities is "
            f"{sparsity_text(float(line['sparsity'].iloc[at]))}, {where}"
        )
    return f"at {flops_text(rows['compute_flops'].iloc[0])} FLOPs, {'; '.join(parts)}."


def _clear(rows: pandas.DataFrame, noise_nats: dict[float, float]) -> str:
    """What of H4 the lines show by more than the noise of a difference at their budget, in two sentences."""
    inside, dense, risen = [], [], []
    for budget, part in rows.groupby("compute_flops"):
        noise, bounds = noise_nats[budget], []
        for _, line in part.groupby("size"):
            line = line.sort_values("sparsity")
            sparsity, loss = line["sparsity"].to_numpy(), line["loss_nats"].to_numpy()
            bounds.append(profiles.told_apart(sparsity, loss, noise))
            if sparsity[0] == 0:
                dense.append(loss[0] - loss.min() > noise)
        inside.append([bool(np.isfinite(each).all()) for each in bounds])
        if len(bounds) > 1:
            risen.append(bounds[-1][0] >= bounds[0][1])
    bowls, lines = sum(map(sum, inside)), sum(map(len, inside))
    settled = all(map(any, inside)) and len(risen) == len(inside) and all(risen)
    return (
        " By more than noise (one standard deviation of a difference), dense is worse than the best in "
        f"{sum(dense)} of the {len(dense)} lines that have it, both sides of the lowest point are worse in "
        f"{bowls} of {lines} lines, and the best sparsity is higher at the largest N than at the smallest at "
        f"{sum(risen)} of {len(risen)} budgets. The paper's H4, that some size has its best sparsity inside "
        "and that the best sparsity rises with N, at every budget, "
        + ("can be seen here without a law." if settled else "cannot be read off these points.")
    )
