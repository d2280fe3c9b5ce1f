"""How right a forecast was that was written down before its runs were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS, resolve, scale_of
from moebook.bayes.reading import FINISHED
from moebook.errors import InputError

#: What a written forecast must say of each row.
NEEDS = ("key", "interval", "run_low_nats", "run_median_nats", "run_high_nats")


@dataclass(frozen=True)
class Judgement:
    """rows: the forecast's rows whose runs are done, with `loss_nats` and whether it lies `inside`; asked,
    done: how many runs were forecast and how many of them are done; without_loss: {status: how many} ended
    without a loss.
    """

    rows: pd.DataFrame
    asked: int
    done: int
    without_loss: dict[str, int]

    @property
    def inside(self) -> dict[float, int]:
        """{interval: how many of the runs that are done lie in it}."""
        return {float(level): int(part.sum()) for level, part in self.rows.groupby("interval")["inside"]}

    @property
    def error_nats(self) -> np.ndarray:
        """[runs that are done] what came out less the median that was forecast."""
        once = self.rows.drop_duplicates("key")
        return (once["loss_nats"] - once["run_median_nats"]).to_numpy()


def judge(
    forecast: pd.DataFrame,
    runs: pd.DataFrame,
    source: str = "forecast",
    made: str = "runs",
    names: Mapping[str, str] | None = None,
) -> Judgement:
    """Compare a forecast, as `moebook forecast --out` writes it, with the runs of the same `key`.

    runs: a table with a column `key` and one for the loss, which goes by any name that a fit knows, blank
    where a run has no loss yet, and status where runs may have failed; runs that were not forecast are
    ignored. source, made: what messages call the two; names: {key or loss: column of `runs`}. Raises
    InputError naming what is missing, no number, or a key that is there twice.
    """
    for name in NEEDS:
        if name not in forecast:
            hint = "; the table that was forecast had no such column" if name == "key" else ""
            raise InputError(f"{source}: {name}: no such column{hint}")
    runs = _named(runs, names or {}, made)
    said = forecast.assign(key=forecast["key"].fillna("").astype(str).str.strip())
    said = said[said["key"] != ""]  # a point that was asked without a key is forecast, and not judged
    for name in NEEDS[1:]:
        said[name] = _numbers(said, name, source)
    for wrong, name, rule in (
        (~said["interval"].between(0, 1, inclusive="neither"), "interval", "must lie between 0 and 1"),
        (said["run_low_nats"] > said["run_high_nats"], "run_low_nats", "must not lie above run_high_nats"),
    ):
        if wrong.any():
            key, value = said.loc[wrong, ["key", name]].iloc[0]
            raise InputError(f"{source}: key {key}: {name}: {value:g}: {rule}")
    twice = said[said.duplicated(["key", "interval"])]
    if not twice.empty:
        raise InputError(f"{source}: key: {twice['key'].iloc[0]}: is there twice")
    found = runs.assign(key=runs["key"].astype(str).str.strip())
    found = found[found["key"].isin(set(said["key"]))]
    if (again := found["key"].duplicated()).any():
        raise InputError(f"{made}: key: {found.loc[again, 'key'].iloc[0]}: is there twice")
    status = (found["status"] if "status" in found else pd.Series("done", found.index)).astype(str)
    status = status.str.strip().str.lower()
    blank = found["loss_nats"].isna() | (found["loss_nats"].astype(str).str.strip() == "")
    ended = found[status.isin(FINISHED) & ~blank]
    loss = _numbers(ended, "loss_nats", made).set_axis(ended["key"])
    if (loss <= 0).any():
        key = loss.index[(loss <= 0).to_numpy().argmax()]
        raise InputError(f"{made}: key {key}: loss_nats: {loss[key]:g}: must be positive")
    rows = said.assign(loss_nats=said["key"].map(loss))
    rows = rows[rows["loss_nats"].notna()].reset_index(drop=True)
    inside = (rows["run_low_nats"] <= rows["loss_nats"]) & (rows["loss_nats"] <= rows["run_high_nats"])
    lost = status[~status.isin(FINISHED)].value_counts()
    return Judgement(
        rows.assign(inside=inside), said["key"].nunique(), len(ended),
        {str(name): int(n) for name, n in lost.items()},
    )  # fmt: skip


def _named(runs: pd.DataFrame, names: Mapping[str, str], made: str) -> pd.DataFrame:
    """The runs with their key and their loss under these names, the loss in nats."""
    if unknown := set(names) - {"key", "loss"}:
        raise InputError(f"columns: {min(unknown)}: a judgement reads key and loss")
    key = names.get("key", "key")
    found = resolve(runs, [LOSS], {n: c for n, c in names.items() if n == "loss"}, made)
    for name, column in (("key", key if key in runs else None), ("loss", found.get(LOSS))):
        if column is None:
            there = ", ".join(map(str, runs.columns))
            raise InputError(f"{made}: {name}: no column for it; there are {there}; --columns {name}=COLUMN")
    scale = scale_of(LOSS, found[LOSS], runs[found[LOSS]], made)
    loss = runs[found[LOSS]]
    if scale != 1:
        blank = loss.isna() | (loss.astype(str).str.strip() == "")
        named = pd.DataFrame({"key": runs[key], "loss_nats": loss})[~blank]
        loss = (_numbers(named, "loss_nats", made) * scale).reindex(runs.index)
    return runs.assign(key=runs[key], loss_nats=loss)


def _numbers(table: pd.DataFrame, name: str, source: str) -> pd.Series:
    """A column as finite numbers, or InputError naming the key and the value."""
    values = pd.to_numeric(table[name], errors="coerce")
    if (wrong := ~np.isfinite(values)).any():
        key, value = table.loc[wrong, ["key", name]].iloc[0]
        raise InputError(f"{source}: key {key}: {name}: {value!r}: must be a number")
    return values
