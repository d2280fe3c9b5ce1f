"""What the chapter on honesty says of forecasts that were written down before their runs were made."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from moebook.book.contents.runs import text_title
from moebook.book.paths import runs_folder
from moebook.book.say import listed
from moebook.errors import InputError
from moebook.figures import honesty as figures
from moebook.figures import page
from moebook.figures.style import flops_text
from moebook.runs.table import load_table


def written_forecasts() -> list[Path]:
    """The forecasts of `runs/forecasts`, the oldest first."""
    folder = runs_folder() / "forecasts"
    noted = _noted(folder)
    return sorted(folder.glob("*.csv"), key=lambda path: (noted[path.name]["written"], path.name))


def _noted(folder: Path) -> dict[str, dict[str, str]]:
    """When each forecast was written, and the checksum that it had."""
    return json.loads((folder / "checksums.json").read_text("utf-8"))


def forecasts_in_short() -> str:
    """How many of the runs that were forecast beforehand lie in the intervals, of all written forecasts;
    Markdown, empty where none is made."""
    parts, seen = [], []
    for path in written_forecasts():
        said, found = _said(path), judged(path)
        if found.done:
            same = "the same " if (keys := set(said["key"])) in seen else ""
            seen.append(keys)
            inside = [f"{n} in their {100 * level:g} % intervals" for level, n in found.inside.items()]
            beyond = float(said["compute_flops_beyond"].max())
            far = f", {beyond:.0f} times beyond what had been fitted" if beyond > 1.5 else ""
            what = f"{same}{found.done} runs on {_texts(said)} at {_budgets(said)} FLOPs{far}"
            parts.append(f"- {what}: {listed(inside)}.")
    if not parts:
        return ""
    opening = "How far can such a fit be trusted? We wrote forecasts down before their runs were made."
    return "\n".join([f"{opening} What came out:", "", *parts])


def forecasts_together() -> str:
    """What all written forecasts say of the width of the intervals; Markdown, empty where none is made."""
    made = [(path, judged(path)) for path in written_forecasts()]
    done = [(path, found) for path, found in made if found.done]
    if not done:
        return ""
    parts = []
    for level in sorted(set.intersection(*(set(found.inside) for _, found in done))):
        held, asked = (sum(n) for n in zip(*((f.inside[level], f.done) for _, f in done), strict=True))
        chance = float(stats.binom.sf(held - 1, asked, level))
        parts.append((level, held, asked, chance))
    words = "; ".join(f"{held} of {asked} at {100 * level:g} %" for level, held, asked, _ in parts)
    wide = [f"{100 * level:g} %" for level, *_, chance in parts if chance < 0.01]
    verdict = (
        f"Were the runs independent, so many at {listed(wide)} would be improbable for intervals of the "
        "right width: **these are wider than these runs asked for**. Their width was learnt on the tables of "
        "others, which needed it. "
        if wide
        else ""
    )
    return (
        f"Together, and a run that was forecast twice counts twice: {words}. {verdict}But the runs of one "
        "budget share what the law gets wrong there and come out on one side together, so that a count of "
        "runs says less than its size promises."
    )


def _budgets(said: Any) -> str:
    """The budgets of a forecast's runs, in words."""
    return listed([flops_text(c) for c in sorted({float(f"{c:.1e}") for c in said["compute_flops"]})])


def _texts(said: Any) -> str:
    """The texts of those runs of a forecast that are made, in words."""
    runs = load_table(runs_folder())
    return listed(sorted({text_title(text) for text in runs["text"][runs["key"].isin(said["key"])]}))


@cache
def judged(path: Path):  # noqa: ANN201
    """A written forecast beside the runs of the table."""
    from moebook.bayes.judging import judge

    return judge(_said(path), load_table(runs_folder()), str(path))


def _said(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(path, dtype={"key": str})


def forecast_before_in_words(path: Path) -> str:
    """What was forecast, from which posterior, its checksum, and how right it was; Markdown.

    Raises InputError where the file is not the one that was written down, or a run is older than it.
    """
    from moebook.files import sha256_hex
    from moebook.runs.store import Store

    said, found = _said(path), judged(path)
    noted = _noted(path.parent)[path.name]
    if sha256_hex(path.read_bytes()) != noted["sha256"]:
        raise InputError(f"{path}: sha256: is not the one that was written down with it: it was changed")
    keys, store = set(said["key"]), Store(runs_folder())
    for record in filter(None, map(store.get, sorted(keys))):
        if record.finished <= noted["written"]:
            raise InputError(f"{path}: {record.key}: was made before its forecast was written")
    checksum = sha256_hex(path.read_bytes())[:16]
    what = (
        f"**{path.stem}**: {found.asked} runs at {_budgets(said)} FLOPs, from posterior "
        f"`{said['posterior'].iloc[0][:8]}`{_fitted_up_to(said)}, written "
        f"{noted['written'][:16].replace('T', ' ')} UTC. The file's sha256 begins with `{checksum}`."
    )
    if not found.done:
        return f"{what} None of the runs is made yet: it is written down, and not tested."
    shares = " and ".join(
        f"{inside} in their {100 * level:g} % intervals" for level, inside in found.inside.items()
    )
    error = found.error_nats
    bias = f"{abs(error.mean()):.3f} nats {'above' if error.mean() > 0 else 'below'} the median"
    lost = "".join(f", {n} {status}" for status, n in found.without_loss.items())
    return (
        f"{what} Made since: {found.done}{lost}. Of these, {shares}; in the mean they came out {bias}, and "
        f"single runs {np.abs(error).mean():.3f} nats off."
    )


def _fitted_up_to(said: Any) -> str:
    """The largest budget that a forecast's posterior had seen, where the forecast looks beyond it."""
    times = said["compute_flops_beyond"]
    if not (times > 1).any():
        return ""
    largest = (said["compute_flops"] / times)[times > 1].median()
    return f" (fitted to runs of at most {flops_text(float(f'{largest:.1e}'))} FLOPs)"


def forecast_before_figure(path: Path) -> page.Html:
    """What was forecast and what came out, run by run."""
    said = _said(path)
    loss = judged(path).rows.drop_duplicates("key").set_index("key")["loss_nats"]
    return page.show(
        figures.forecast_and_outcome(said.assign(loss_nats=said["key"].map(loss))),
        "Forecast intervals of the loss of each run, and what came out where the run is made.",
        "Bars: the intervals that were written down; ticks: their medians"
        + ("; points: what came out." if loss.notna().any() else "."),
    )
