"""What the chapters say and show of the best sizes: where they lie, and whether worse ones lie around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebook.book import profiles
from moebook.book.contents.runs import text_title, texts
from moebook.figures import page
from moebook.figures.style import count_text, flops_text, sparsity_text

if TYPE_CHECKING:
    import pandas


def best_size_table(table: pandas.DataFrame, text: str) -> page.Html:
    """The best size of each budget and sparsity, and whether it is bracketed, by more than noise."""
    import pandas as pd

    runs = profiles.done_runs(table, text)
    best = profiles.best_sizes(profiles.cells(runs))
    close = profiles.within_noise(best, profiles.difference_sd_nats(runs))
    frame = pd.DataFrame(
        {
            "C (FLOPs)": [flops_text(c) for c in best["compute_flops"]],
            "S": [sparsity_text(float(s)) for s in best["sparsity"]],
            "best is": [_where(flag, noisy) for flag, noisy in zip(best["flag"], close, strict=True)],
            "margin": best["margin_nats"],
            "best width": best["width"].astype(int),
            "N": [count_text(n) for n in best["params"]],
            "active": [count_text(n) for n in best["params_active"]],
            "bytes seen": [count_text(d) for d in best["tokens"]],
            "loss (nats/byte)": best["loss_nats"],
            "sizes tried": best["sizes"].astype(int),
        }
    )
    return page.table(
        frame,
        f"{text_title(text)}: the best of the sizes that were run. The margin is what the worst size on one "
        "side of it loses, in nats per byte, on the side where that is less",
        {"loss (nats/byte)": "{:.3f}", "margin": "{:.3f}"},
    )


def _where(flag: str, noisy: bool) -> str:
    """Where the best size of a row lies, in words."""
    if flag:
        return flag if flag == "one size only" else f"{flag}: open"
    return "bracketed, one side within noise" if noisy else "bracketed"


def bracketing(table: pandas.DataFrame) -> str:
    """How many rows are bracketed, and how many of these by less than noise, in sentences for each text."""
    lines = []
    for text in texts():
        runs = profiles.done_runs(table, text)
        best, noise = profiles.best_sizes(profiles.cells(runs)), profiles.difference_sd_nats(runs)
        inside, rows = int(best["bracketed"].sum()), len(best)
        close = sum(profiles.within_noise(best, noise))
        said = f"**{text_title(text)}:** {inside} of {rows} rows are bracketed"
        if not noise:
            said += "; by more than noise or not cannot be told, for no model was trained twice."
        elif close:
            said += (
                f", {close} of them with one side within noise: no size on that side is worse by one "
                "standard deviation of the difference of two runs "
                f"({_span(list(noise.values()))} nats per byte, by budget). There the best size may as well "
                "be the last on that side, or beyond."
            )
        else:
            said += ", all of them by more than noise."
        if inside < rows:
            said += (
                " For the others, the best size is only known to lie at that end or beyond; where one size "
                "was run, nothing is known."
            )
        lines.append(said)
    return "\n\n".join(lines)


def _span(values: list[float]) -> str:
    low, high = (f"{value:.3f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
