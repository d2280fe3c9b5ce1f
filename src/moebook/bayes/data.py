"""The rows that a fit sees: taken from any table, checked, in one canonical order.

Files are read by `reading`, columns found by `columns`, numbers taken by `quantities`; what is odd about the
rows says `doubts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS
from moebook.bayes.effects import Effects, Wanted, take_effects
from moebook.bayes.quantities import Points, take_points
from moebook.bayes.reading import read_table
from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.laws import Law

#: A law has nothing to fit without variation in one of these; in others it is only less certain.
SIZES = ("params", "params_active", "params_nonembedding", "tokens", "compute_flops")


@dataclass(frozen=True)
class Rows:
    """Checked rows, sorted so that their order in the table does not matter.

    columns: {column of the law: [rows]}; loss_nats [rows]; source: what messages call the table;
    points: the same rows in the same order, with all else that was read; effects: what moves their loss
    beside the law.
    """

    columns: dict[str, np.ndarray]
    loss_nats: np.ndarray
    source: str
    points: Points = field(repr=False)
    effects: Effects = field(repr=False, default_factory=Effects)

    def __len__(self) -> int:
        return len(self.loss_nats)

    def ordered(self, law: Law) -> list[np.ndarray]:
        """The columns in the order of the law's arguments."""
        return [self.columns[name] for name in law.columns]

    def sha256(self) -> str:
        """Hash of the numbers themselves; the same for every order of the rows."""
        values = {**self.columns, LOSS: self.loss_nats}
        numbers = {name: [float(x).hex() for x in v] for name, v in values.items()}
        return sha256_hex(canonical_json({**numbers, **self.effects.numbers()}))


def take_rows(
    table: pd.DataFrame,
    law: Law,
    names: Mapping[str, str] | None = None,
    source: str = "table",
    flops_per_token: str = "",
    wanted: Wanted | None = None,
) -> Rows:
    """The rows that `law` reads from a table, or InputError naming the source, row, field and value.

    wanted: groups, covariates and noise; other arguments: those of `take_points`. Rows are numbered from 1
    below the header.
    """
    points = take_points(table, law, names, source, flops_per_token, losses=True)
    if len(points) <= len(law.coefficients):
        raise InputError(
            f"{source}: rows: {len(points)}: the law {law.name} has {len(law.coefficients)} coefficients "
            f"and needs at least {len(law.coefficients) + 1} runs"
        )
    for name in law.columns:
        values = points.columns[name]
        if name in SIZES and len(np.unique(values)) == 1:
            raise InputError(
                f"{source}: {points.column_of(name)}: {values[0]:.6g}: the same in every row; "
                f"the law {law.name} has a term in {name}, which only runs that differ in it can show"
            )
    if np.ptp(points.loss_nats) == 0:
        raise InputError(
            f"{source}: {points.column_of(LOSS)}: {points.loss_nats[0]:.6g}: every run has the same loss; "
            "there is nothing to fit"
        )
    order = np.lexsort([points.loss_nats, *(points.columns[name] for name in reversed(law.columns))])
    points = points.take(order)
    effects = take_effects(table, wanted or Wanted(), points.compute_flops, order, source)
    return Rows(points.columns, points.loss_nats, source, points, effects)


__all__ = ["LOSS", "Rows", "read_table", "take_rows"]
