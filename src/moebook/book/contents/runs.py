"""What the chapters say and show of the run table. Sentences change with the numbers that they state."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from moebook.book import profiles
from moebook.book.paths import posterior_folders, runs_folder
from moebook.book.say import rounded
from moebook.errors import InputError
from moebook.figures import page
from moebook.figures import runs as figures
from moebook.figures.style import count_text, flops_text, percent, sparsity_text

if TYPE_CHECKING:
    import pandas

TITLES = {"english": "English text", "packages": "Python source code"}
PRIMARY = "english"


def texts() -> list[str]:
    """Names of the texts that have a stored posterior; the one that the book speaks of first comes first."""
    names = [folder.name for folder in posterior_folders()]
    if not names:
        raise InputError(f"{runs_folder() / 'posteriors'}: no stored posterior")
    return sorted(names, key=lambda name: (name != PRIMARY, name))


def text_title(text: str) -> str:
    """A text's name as prose: English text, Python source code, or the name itself."""
    return TITLES.get(text, text)


def run_table() -> pandas.DataFrame:
    """The whole run table."""
    from moebook.runs.table import load_table

    return load_table(runs_folder())


def study_in_numbers() -> dict[str, str]:
    """Counts and ranges that the prose quotes."""
    from moebook.runs.store import Store

    table = run_table()
    done = profiles.done_runs(table)
    replicates = profiles.replicates(done)
    sd = profiles.seed_sd_nats(replicates)
    record = next(record for record in Store(runs_folder()).load() if record.done)
    cells = profiles.cells(profiles.done_runs(table, texts()[0]))
    best = profiles.best_sizes(cells)
    better, pairs = profiles.same_width(cells)
    largest = float(best["compute_flops"].max())
    gain, _ = profiles.gain_nats(best, largest)
    return {
        "runs_done": str(len(done)),
        "runs_not_done": str(len(table) - len(done)),
        "smallest_budget": flops_text(float(done["budget_flops"].min())),
        "largest_budget": flops_text(float(done["budget_flops"].max())),
        "sequences": str(record.recipe["batch_sequences"]),
        "context": str(record.model["context"]),
        "same_width": f"{better} of {pairs}",
        "neighbour_loss": f"{profiles.neighbour_loss_nats(cells):.3f}",
        "seed_sd": rounded(sd, sd / math.sqrt(2 * len(replicates))),
        "seed_cells": str(replicates.groupby(["text", "budget_flops", "sparsity", "width"]).ngroups),
        "chance_of_one_sd": percent(2 * (1 - NormalDist().cdf(1 / math.sqrt(2)))),
        "noise_verdict": (
            f"At {flops_text(largest)} FLOPs, the best sparse model beats the best dense one by {gain:.3f} "
            f"nats per byte, {gain / sd:.0f} times that."
            if gain > 0
            else f"At {flops_text(largest)} FLOPs, no sparse model beats the best dense one."
        ),
    }


def profile_figures(table: pandas.DataFrame, text: str) -> page.Html:
    """IsoFLOP profiles of one text: a panel a budget, a line a sparsity."""
    cells = profiles.cells(profiles.done_runs(table, text))
    sparsities = [float(s) for s in sorted(set(cells["sparsity"]))]
    panels = []
    for budget in sorted(set(cells["compute_flops"])):
        label = f"Loss against active parameters at {flops_text(budget)} FLOPs, a line for each sparsity."
        panels.append((figures.isoflop_profile(cells, budget, sparsities), label))
    return page.grid(
        panels,
        f"{text_title(text)}: held-out loss against active parameters at fixed compute. Means over "
        "seeds; bars show the spread between seeds where there are several. "
        "The large point is the lowest of its line.",
    )


def best_size_table(table: pandas.DataFrame, text: str) -> page.Html:
    """The best size of each budget and sparsity, and whether it is bracketed."""
    import pandas as pd

    best = profiles.best_sizes(profiles.cells(profiles.done_runs(table, text)))
    frame = pd.DataFrame(
        {
            "C (FLOPs)": [flops_text(c) for c in best["compute_flops"]],
            "S": [sparsity_text(float(s)) for s in best["sparsity"]],
            "best width": best["width"].astype(int),
            "N": [count_text(n) for n in best["params"]],
            "active": [count_text(n) for n in best["params_active"]],
            "bytes seen": [count_text(d) for d in best["tokens"]],
            "loss (nats/byte)": best["loss_nats"],
            "sizes tried": best["sizes"].astype(int),
            "best is": ["bracketed" if ok else f"{flag}: open" if flag != "one size only" else flag
                        for ok, flag in zip(best["bracketed"], best["flag"], strict=True)],
        }
    )  # fmt: skip
    return page.table(
        frame, f"{text_title(text)}: the best of the sizes that were run", {"loss (nats/byte)": "{:.3f}"}
    )


def bracketing(table: pandas.DataFrame) -> str:
    """How many rows are bracketed, in a sentence for each text."""
    lines = []
    for text in texts():
        best = profiles.best_sizes(profiles.cells(profiles.done_runs(table, text)))
        inside, rows = int(best["bracketed"].sum()), len(best)
        rest = (
            ""
            if inside == rows
            else " For the others, the best size is only known to lie at that end or beyond."
        )
        lines.append(f"**{text_title(text)}:** {inside} of {rows} rows are bracketed.{rest}")
    return "\n\n".join(lines)


def gain_figures(table: pandas.DataFrame) -> page.Html:
    """Loss at the best size against sparsity, a panel a text."""
    panels = []
    for text in texts():
        best = profiles.best_sizes(profiles.cells(profiles.done_runs(table, text)))
        figure = figures.gain_from_sparsity(best, text_title(text))
        panels.append(
            (figure, f"{text_title(text)}: loss at the best size against sparsity, a line for each budget.")
        )
    return page.grid(panels)


def gains(table: pandas.DataFrame) -> str:
    """Best sparse against best dense model, a line for each text and budget."""
    lines = []
    for text in texts():
        best = profiles.best_sizes(profiles.cells(profiles.done_runs(table, text)))
        parts = []
        for budget in sorted(set(best["compute_flops"])):
            gain, sparsity = profiles.gain_nats(best, budget)
            parts.append(
                f"{gain:+.3f} at {flops_text(budget)} FLOPs (S = {sparsity_text(sparsity)})".replace("+", "")
            )
        lines.append(f"- {text_title(text)}: " + ", ".join(parts) + ".")
    return (
        "The best dense model's loss minus the best sparse model's, in nats per byte, and the sparsity that "
        "wins (positive: sparse is better):\n\n" + "\n".join(lines)
    )


def whole_table(table: pandas.DataFrame) -> page.Html:
    """Every run, folded away."""
    columns = {
        "key": "key", "text": "text", "status": "status", "compute_flops": "C (FLOPs)", "sparsity": "S",
        "width": "width", "experts": "E", "active": "K", "params": "N", "params_active": "active",
        "tokens": "D (bytes)", "seed": "seed", "loss_nats": "loss (nats/byte)",
        "loss_stderr_nats": "its error",
    }  # fmt: skip
    frame = table[list(columns)].rename(columns=columns)
    formats = {
        "C (FLOPs)": "{:.2e}", "S": sparsity_text, "N": "{:,}", "active": "{:,}", "D (bytes)": "{:,}",
        "loss (nats/byte)": "{:.4f}", "its error": "{:.4f}",
    }  # fmt: skip
    return page.table(frame, formats=formats, fold=f"All {len(table)} runs")


def cost_table() -> page.Html:
    """What the runs cost: by study, runs, compute, and core hours on the machine that ran them."""
    import pandas as pd

    rows = [
        {
            "study": study,
            "runs": len(part),
            "FLOPs": flops_text(float(part["compute_flops"].sum())),
            "core hours": part["wall_seconds"].sum() / 3600,
        }
        for study, part in run_table().groupby("study")
    ]
    return page.table(pd.DataFrame(rows), "What the runs cost", {"core hours": "{:.2f}"})
