"""What the chapters say and show of the run table. Sentences change with the numbers that they state."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

from moebook.book import profiles
from moebook.book.paths import posterior_folders, runs_folder
from moebook.book.say import listed
from moebook.errors import InputError
from moebook.figures import page
from moebook.figures import runs as figures
from moebook.figures.style import count_text, flops_text, percent, sparsity_text

if TYPE_CHECKING:
    import pandas

TITLES = {"english": "English text", "packages": "Python source code"}
PRIMARY = "english"
QUICK = "quick"


def texts() -> list[str]:
    """Names of the texts that have a stored posterior; the one that the book speaks of first comes first."""
    names = [folder.name for folder in posterior_folders()]
    if not names:
        raise InputError(f"{runs_folder() / 'posteriors'}: no stored posterior")
    return sorted(names, key=lambda name: (name != PRIMARY, name))


def text_title(text: str) -> str:
    """A text's name as prose: English text, Python source code, or the name itself."""
    return TITLES.get(text, text)


def by_sparsity(wide: pandas.DataFrame) -> pandas.DataFrame:
    """A table by (text, budget_flops) with a column a sparsity, as a reader sees it."""
    wide = wide.reset_index()
    wide.columns = [
        name if isinstance(name, str) else f"S = {sparsity_text(float(name))}" for name in wide.columns
    ]
    wide["text"] = [text_title(text) for text in wide["text"]]
    wide["budget_flops"] = [flops_text(float(budget)) for budget in wide["budget_flops"]]
    return wide.rename(columns={"budget_flops": "C (FLOPs)"})


def run_table() -> pandas.DataFrame:
    """The whole run table, read once a chapter."""
    return _table(runs_folder()).copy()


@cache
def _table(folder: Path) -> pandas.DataFrame:
    from moebook.runs.table import load_table

    return load_table(folder)


def study_in_numbers() -> dict[str, str]:
    """Counts and ranges that the prose quotes."""
    from moebook.runs.store import Store

    table = run_table()
    done = profiles.done_runs(table)
    records = [each for each in Store(runs_folder()).load() if each.done and not each.purpose]
    batches = sorted({each.recipe["batch_sequences"] for each in records})
    contexts = sorted({each.model["context"] for each in records})
    return {
        "runs_done": str(len(done)),
        "runs_not_done": str(int((table["status"] != "done").sum())),
        "runs_of_tuning": str(int((table["purpose"] == "tuning").sum())),
        "smallest_budget": flops_text(float(done["budget_flops"].min())),
        "largest_budget": flops_text(float(done["budget_flops"].max())),
        "sequences": " or ".join(map(str, batches)),
        "context": " or ".join(map(str, contexts)),
        "chance_of_one_sd": percent(2 * (1 - NormalDist().cdf(1 / math.sqrt(2)))),
    }


WHAT = {
    "english": "novels, most of the nineteenth century, encyclopaedia articles, handbooks and speeches",
    "packages": "the source files of the packages that this book is made with",
}


def texts_in_words(table: pandas.DataFrame) -> str:
    """What the texts are, how much of each was held out, and how much the longest run reads; Markdown."""
    from moebook.runs.store import Store
    from moebook.train import Recipe

    records = Store(runs_folder()).load()
    lines = []
    for text in texts():
        measures = next(each.measures for each in records if each.done and each.text == text)
        longest = int(profiles.done_runs(table, text)["tokens"].max())
        lines.append(
            f"- **{text_title(text)}**" + (f": {WHAT[text]}. " if text in WHAT else ": ")
            + f"The longest run of the study reads {count_text(longest)} bytes of it. Held out are "
            f"{count_text(measures['heldout_tokens'])} bytes in {measures['heldout_documents']} documents."
        )
    recipe = Recipe(**next(each.recipe for each in records if each.done and not each.purpose))
    return (
        f"The optimiser is AdamW. The rate rises over the first {recipe.warmup_tokens:,} bytes and falls "
        f"over the last {percent(recipe.decay_share)} of the run. There are {len(lines)} texts; "
        "`runs/DATACARD.md` has their sources and licences:\n\n" + "\n".join(lines)
    )


def decay_share() -> float:
    """Share of a run that is its own decay; runs of one trunk share the rest."""
    from moebook.runs.store import Store

    return max(float(record.recipe.get("decay_share", 1)) for record in Store(runs_folder()).load())


def overview(table: pandas.DataFrame) -> page.Html:
    """What was run, a row a text."""
    frame = profiles.overview(table, decay_share())
    frame["text"] = [text_title(text) for text in frame["text"]]
    return page.table(
        frame, "What was run (core hours: with the runs that are set aside)", {"core hours": "{:.2f}"},
        wrap=("text", "budgets (FLOPs)", "sparsities"),
    )


def readings(table: pandas.DataFrame) -> str:
    """What the profiles show before any statistics, a line a text; Markdown."""
    lines = []
    for text in texts():
        cells = profiles.cells(profiles.done_runs(table, text))
        pairs = profiles.width_pairs(cells)
        worse = pairs[pairs["loss_nats"] >= pairs["loss_nats_dense"]]
        by_budget = worse.groupby("compute_flops").size()
        where = listed([f"{n} at {flops_text(float(c))} FLOPs" for c, n in by_budget.items()] or [""])
        better = f"{len(pairs) - len(worse)} of {len(pairs)}"
        lines.append(
            f"- **{text_title(text)}:** the sparse model has the lower loss in {better} pairs"
            + (f"; the exceptions are {where}" if where else ", without exception")
            + ". Of the neighbours of a bracketed best size, half lose less than "
            f"{profiles.neighbour_loss_nats(cells):.3f} nats per byte."
        )
    return "\n".join(lines)


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
        f"{text_title(text)}: held-out loss against active parameters at fixed compute, means over "
        "seeds, less what a seed does to all models of its width; bars show the spread between seeds. "
        "The large point is the lowest of its line; it is hollow where it is at an end, so that the best "
        "size may lie beyond.",
    )


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
            parts.append(f"{gain:.3f} at {flops_text(budget)} FLOPs (S = {sparsity_text(sparsity)})")
        lines.append(f"- {text_title(text)}: " + ", ".join(parts) + ".")
    return (
        "The best dense model's loss minus the best sparse model's, in nats per byte, and the sparsity that "
        "wins (positive: sparse is better):\n\n" + "\n".join(lines)
    )


def whole_table(table: pandas.DataFrame) -> page.Html:
    """Every run, folded away."""
    table = table.assign(text=[text_title(text) for text in table["text"]])
    columns = {
        "key": "key", "text": "text", "purpose": "purpose", "status": "status", "compute_flops": "C (FLOPs)",
        "sparsity": "S",
        "width": "width", "experts": "E", "active": "K", "params": "N", "params_active": "active",
        "tokens": "D (bytes)", "learning_rate": "rate", "batch_tokens": "bytes a step", "seed": "seed",
        "loss_nats": "loss (nats/byte)", "loss_stderr_nats": "its error",
    }  # fmt: skip
    frame = table[list(columns)].rename(columns=columns)
    formats = {
        "C (FLOPs)": "{:.2e}", "S": sparsity_text, "N": "{:,}", "active": "{:,}", "D (bytes)": "{:,}",
        "loss (nats/byte)": "{:.4f}", "its error": "{:.4f}", "rate": "{:.2g}", "bytes a step": "{:,}",
    }  # fmt: skip
    return page.table(frame, formats=formats, fold=f"All {len(table)} runs")


def cost_table() -> page.Html:
    """What the runs cost: by study, runs, compute, and core hours on the machine that ran them.

    The sums over a text's studies are those of `overview`.
    """
    import pandas as pd

    rows, share = [], decay_share()
    for (study, text, purpose), part in run_table().groupby(["study", "text", "purpose"]):
        flops, seconds = profiles.spent(part, share)
        rows.append(
            {
                "study": study, "text": text_title(text), "purpose": purpose or "the table",
                "runs": len(part),
                "FLOPs spent": flops_text(flops), "core hours": seconds / 3600,
            }
        )  # fmt: skip
    return page.table(
        pd.DataFrame(rows), "What the runs cost; a stretch that runs share is counted once",
        {"core hours": "{:.2f}"},
    )  # fmt: skip


def quick_study() -> str:
    """What the quick study is, in a sentence."""
    table = run_table()
    runs = profiles.done_runs(table[table["study"] == QUICK])
    texts_, budgets = sorted(set(runs["text"])), sorted({float(c) for c in runs["budget_flops"]})
    sparsities = sorted({float(s) for s in runs["sparsity"]})
    return (
        f"The quick study is the smallest of the studies here: {len(runs)} runs on "
        f"{listed([text_title(text) for text in texts_])}, at {flops_text(budgets[0])} to "
        f"{flops_text(budgets[-1])} FLOPs, with S = {listed([sparsity_text(s) for s in sparsities])}."
    )
