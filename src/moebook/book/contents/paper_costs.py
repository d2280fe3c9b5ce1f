"""What sparsity costs on paper: the terms of the FLOP count, other counts of them, and memory."""

from __future__ import annotations

import numpy as np

from moebook.architecture import Family, counts
from moebook.book import profiles
from moebook.book.contents.runs import run_table
from moebook.book.say import more
from moebook.figures import accounting, costs, page
from moebook.figures.style import count_text, percent, sparsity_text

WIDTH, SPARSITIES = 64, (0.0, 15 / 16)  # of the examples on paper
TOP = 31 / 32
MEMORY_WIDTHS = (16, 64, 1024)
CONVENTION_WIDTHS = (8, 1024)
UPDATE_BYTES = 7 * 4  # AdamW in fp32 reads weight, gradient and two moments, writes weight and two moments
COUNTED = {
    "attention projections": "query, key, value and output matrix",
    "attention scores": "the whole context, although the later half is masked",
    "experts": "the experts that a token uses",
    "router": "the scores of all experts, used or not",
    "output": "the scores of all symbols",
}


def terms_table() -> page.Html:
    """FLOPs of a token by term, for a dense and a sparse model of one width."""
    import pandas as pd

    models = [Family().config(WIDTH, sparsity) for sparsity in SPARSITIES]
    frame = pd.DataFrame({"term": list(COUNTED)})
    for model in models:
        paper = counts(model)
        frame[f"S = {sparsity_text(model.sparsity)}"] = [
            f"{flops:,} ({percent(flops / paper.flops_per_token)})" if flops else "none"
            for flops in (paper.flop_terms[term] for term in COUNTED)
        ]
    frame["what is counted"] = list(COUNTED.values())
    return page.table(
        frame, f"FLOPs of a token, forward and backward, at width {WIDTH}", wrap=("what is counted",)
    )


def conventions_figure() -> page.Html:
    """How far other counts of FLOPs are off, against width."""
    return page.show(
        accounting.flops_conventions(Family(), widths=CONVENTION_WIDTHS),
        "Ratio of four other counts of FLOPs to the exact one, against width; they differ most if narrow.",
        "Other counts over ours, for models of this book's family. At one, they agree.",
    )


def conventions_off() -> str:
    """How far each other count is off over the widths of the runs, and at the largest width; Markdown."""
    widths = profiles.done_runs(run_table())["width"]
    at = np.array([widths.min(), widths.max(), CONVENTION_WIDTHS[1]])
    sparsity = SPARSITIES[1]
    ratios = accounting.convention_ratios(Family(), at, sparsity)
    lines = [
        f"- **{title[0].upper()}{title[1:]}:** "
        + ", ".join(f"{more(ratio)} at width {width}" for width, ratio in zip(at, ratios[name], strict=True))
        for name, title in accounting.NAMES.items()
    ]
    return (
        f"Our runs are {at[0]} to {at[1]} wide. At S = {sparsity_text(sparsity)} the others count, against "
        "ours:\n\n" + "\n".join(f"{line}." for line in lines)
    )


def memory_figure() -> page.Html:
    """Memory and FLOPs against sparsity at fixed active size."""
    sparsities = [1 - 2.0**-k for k in range(round(-np.log2(1 - TOP)) + 1)]
    memory, flops = {}, {}
    for width in MEMORY_WIDTHS:
        papers = [Family().counts_at(width, s) for s in sparsities]
        memory[f"d = {width}"] = [p.training_bytes() / papers[0].training_bytes() for p in papers]
        flops[f"d = {width}"] = [p.flops_per_token / papers[0].flops_per_token for p in papers]
    return page.show(
        costs.memory_by_sparsity(sparsities, memory, flops),
        "Memory and FLOPs of a token over those of the dense model, against sparsity: memory rises steeply, "
        "FLOPs hardly.",
        "Memory to train and FLOPs of a token, over those of the dense model of the same width. The active "
        "feed-forward is the same all along a line.",
    )


def paper_in_numbers() -> dict[str, str]:
    """What the prose quotes: memory of a dense and a sparse model, and of one parameter."""
    dense, sparse = (counts(Family().config(WIDTH, s)) for s in (0.0, TOP))
    large = [Family().counts_at(1e6, s) for s in (0.0, TOP)]
    return {
        "cost_width": str(WIDTH),
        "cost_sparsity": sparsity_text(TOP),
        "dense_params": count_text(dense.params),
        "sparse_params": count_text(sparse.params),
        "params_times": f"{sparse.params / dense.params:.0f} times",
        "params_times_large": f"{large[1].params / large[0].params:.0f} times",
        "dense_memory": megabytes(dense.training_bytes()),
        "sparse_memory": megabytes(sparse.training_bytes()),
        "flops_more": more(sparse.flops_per_token / dense.flops_per_token),
        "training_bytes": str(dense.training_bytes() // dense.params),
        "weight_bytes": str(dense.weight_bytes() // dense.params),
        "update_bytes": str(UPDATE_BYTES),
        "cost_interval": "90 %",
    }


def megabytes(value: float) -> str:
    """Bytes as 1.8 MB or 26 MB."""
    scaled = value / 1e6
    return f"{scaled:.0f} MB" if scaled >= 9.95 else f"{scaled:.1f} MB"
