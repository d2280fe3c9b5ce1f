"""What `make bench` measured on a GPU, in sentences and tables."""

from __future__ import annotations

from moebook.book.benchmarks import Gpu, load_results
from moebook.book.contents.costs import bar_text
from moebook.book.say import listed
from moebook.figures import page
from moebook.figures.style import count_text, percent


def cards() -> list[Gpu]:
    """The cards that were measured."""
    return [result.gpu for result in load_results() if result.gpu and result.gpu.rows]


def gpu_in_words() -> str:
    """What a GPU does, or that none was measured; Markdown."""
    lines = [_in_words(card) for card in cards()]
    if not lines:
        return "On a GPU: **not measured**. None of the machines whose figures are stored here had one."
    return "\n".join(lines)


def _in_words(card: Gpu) -> str:
    best = max(card.rows, key=lambda row: row.share)
    said = (
        f"- **{card.device}:** the useful FLOPs of a step are at most {percent(best.share)} of those of a "
        f"square product in the same time ({card.product_tflops:.0f} TFLOP/s), at width {best.width}, "
        f"E = {best.experts}."
    )
    barred = [row for row in card.rows if row.met is not None]
    missed = [
        f"{row.over_dense:.2f} at width {row.width}, E = {row.experts}" for row in barred if not row.met
    ]
    if barred:
        said += (
            f" From width {min(row.width for row in barred)} on, the bar for a mixture is "
            f"{barred[0].bar:.2f} of the dense model's tokens per second: "
            + (f"missed, {listed(missed)}." if missed else "met.")
        )
    for library, ratios in card.public.items():
        reported = listed([f"{ratio:.2f} at {size} active parameters" for size, ratio in ratios.items()])
        said += f" Others report of theirs, for comparison: {reported} ({library})."
    return said


def gpu_tables() -> list[page.Html]:
    """Every step that was timed, a table a card; nothing where there was none."""
    import pandas as pd

    tables = []
    for card in cards():
        frame = pd.DataFrame(
            {
                "d": row.width, "E": row.experts, "N": count_text(row.params),
                "tokens/s": count_text(row.tokens_per_second), "useful FLOPs over possible": row.share,
                "over the data sheet": row.share_stated, "tokens/s over dense": row.over_dense,
                "bar": "–" if row.met is None else bar_text("≥", row.bar, row.met),
                "tokens/s over transformers": row.over_transformers,
            }
            for row in card.rows
        )  # fmt: skip
        shares = ["useful FLOPs over possible", "over the data sheet"]
        speeds = ["tokens/s over dense", "tokens/s over transformers"]
        frame[shares + speeds] = frame[shares + speeds].astype(float)
        formats = dict.fromkeys(shares + speeds, "{:.2f}")
        tables.append(page.table(frame, f"{card.device}: whole training steps in bf16", formats))
    return tables
