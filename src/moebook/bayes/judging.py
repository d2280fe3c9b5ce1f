"""How right a forecast was that was written down before its runs were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moebook.errors import InputError
from moebook.runs.record import STATUSES

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

    runs: a table with columns key and loss_nats, and status where runs may have failed; runs that were not
    forecast are ignored. Raises InputError naming what is missing, or a key that is there twice.
    """
    for name in NEEDS:
        if name not in forecast:
            hint = "; the table that was forecast had no such column" if name == "key" else ""
            raise InputError(f"{source}: {name}: no such column{hint}")
    for name in ("key", "loss_nats"):
        if name not in runs:
            raise InputError(f"runs: {name}: no such column")
    twice = forecast[forecast.duplicated(["key", "interval"])]
    if not twice.empty:
        raise InputError(f"{source}: key: {twice['key'].iloc[0]}: is there twice")
    keys = set(forecast["key"].astype(str))
    found = runs[runs["key"].astype(str).isin(keys)]
    if found["key"].duplicated().any():
        raise InputError(f"runs: key: {found.loc[found['key'].duplicated(), 'key'].iloc[0]}: is there twice")
    status = found["status"] if "status" in found else pd.Series(STATUSES[0], index=found.index)
    ended = found[status == STATUSES[0]]
    loss = pd.Series(pd.to_numeric(ended["loss_nats"]).to_numpy(), index=ended["key"].astype(str))
    rows = forecast.assign(loss_nats=forecast["key"].astype(str).map(loss))
    rows = rows[rows["loss_nats"].notna()].reset_index(drop=True)
    inside = (rows["run_low_nats"] <= rows["loss_nats"]) & (rows["loss_nats"] <= rows["run_high_nats"])
    lost = status[status != STATUSES[0]].value_counts()
    return Judgement(
        rows.assign(inside=inside), len(keys), len(ended), {str(s): int(n) for s, n in lost.items()}
    )
