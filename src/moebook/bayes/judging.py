"""How right a forecast was that was written down before its runs were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

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


def judge(forecast: pd.DataFrame, runs: pd.DataFrame, source: str = "forecast") -> Judgement:
    """Compare a forecast, as `moebook forecast --out` writes it, with the runs of the same `key`.

    runs: a table with columns key and loss_nats, blank where a run has no loss yet, and status where runs may
    have failed; runs that were not forecast are ignored. Raises InputError naming what is missing, no number,
    or a key that is there twice.
    """
    for name in NEEDS:
        if name not in forecast:
            hint = "; the table that was forecast had no such column" if name == "key" else ""
            raise InputError(f"{source}: {name}: no such column{hint}")
    for name in ("key", "loss_nats"):
        if name not in runs:
            raise InputError(f"runs: {name}: no such column")
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
    if found["key"].duplicated().any():
        raise InputError(f"runs: key: {found.loc[found['key'].duplicated(), 'key'].iloc[0]}: is there twice")
    status = (found["status"] if "status" in found else pd.Series("done", found.index)).astype(str)
    status = status.str.strip().str.lower()
    blank = found["loss_nats"].isna() | (found["loss_nats"].astype(str).str.strip() == "")
    ended = found[status.isin(FINISHED) & ~blank]
    loss = _numbers(ended, "loss_nats", "runs").set_axis(ended["key"])
    if (loss <= 0).any():
        key = loss.index[(loss <= 0).to_numpy().argmax()]
        raise InputError(f"runs: key {key}: loss_nats: {loss[key]:g}: must be positive")
    rows = said.assign(loss_nats=said["key"].map(loss))
    rows = rows[rows["loss_nats"].notna()].reset_index(drop=True)
    inside = (rows["run_low_nats"] <= rows["loss_nats"]) & (rows["loss_nats"] <= rows["run_high_nats"])
    lost = status[~status.isin(FINISHED)].value_counts()
    return Judgement(
        rows.assign(inside=inside), said["key"].nunique(), len(ended),
        {str(name): int(n) for name, n in lost.items()},
    )  # fmt: skip


def _numbers(table: pd.DataFrame, name: str, source: str) -> pd.Series:
    """A column as finite numbers, or InputError naming the key and the value."""
    values = pd.to_numeric(table[name], errors="coerce")
    if (wrong := ~np.isfinite(values)).any():
        key, value = table.loc[wrong, ["key", name]].iloc[0]
        raise InputError(f"{source}: key {key}: {name}: {value!r}: must be a number")
    return values
