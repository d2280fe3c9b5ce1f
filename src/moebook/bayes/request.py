"""What is asked of a fit, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moebook import laws
from moebook.bayes.data import Rows, take_rows
from moebook.bayes.doubts import Doubt, doubts
from moebook.bayes.effects import Wanted
from moebook.bayes.identity import identity, ingredients
from moebook.bayes.priors import Priors
from moebook.bayes.reading import finished, of_one_text, read_table
from moebook.errors import InputError

#: Effective draws asked for where there were too few, as a multiple of what is needed: chains differ.
SPARE = 1.5


@dataclass(frozen=True)
class Sampler:
    """Settings of nutpie. `stored` draws of each chain are kept, evenly spaced, as float32.

    Most tables need few draws. Chains that mix, but give too few effective draws, are sampled anew for as
    long as that takes. Where they fail another gate, or need more, they are sampled anew with `again` times
    as many draws after twice the tuning, in steps for `again_target_accept`, and judged as they are.
    """

    chains: int = 4
    draws: int = 1000
    tune: int = 600
    target_accept: float = 0.95
    again: int = 4
    again_target_accept: float = 0.985
    stored: int = 500
    prior_draws: int = 1000

    def __post_init__(self) -> None:
        for name in ("chains", "draws", "tune", "again", "stored", "prior_draws"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"sampler: {name}: {value!r}: must be a whole number of at least 1")
        if self.draws < 4:
            raise InputError(f"sampler: draws: {self.draws}: at least 4, so that chains can be halved")
        if self.chains < 2:
            raise InputError(f"sampler: chains: {self.chains}: at least 2, so that they can be compared")
        for name in ("target_accept", "again_target_accept"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"sampler: {name}: {getattr(self, name)}: must lie between 0 and 1")

    @property
    def first(self) -> tuple[int, int, float]:
        """(tune, draws, target_accept) of the first attempt."""
        return self.tune, self.draws, self.target_accept

    def after(self, attempt: tuple[int, int, float], short: float | None) -> tuple[int, int, float] | None:
        """The attempt after one that failed; None where there is none.

        short: how many times more effective draws were needed, None where another gate failed.
        """
        last = 2 * self.tune, self.again * self.draws, self.again_target_accept
        if self.again == 1 or attempt == last:
            return None
        draws = None if short is None else round(SPARE * short * attempt[1])
        if attempt == self.first and draws is not None and draws < last[1]:
            return self.tune, draws, self.target_accept
        return last


@dataclass(frozen=True)
class Request:
    """A fit to be done: its rows, its settings, and the ingredients of its identity.

    doubts: what is odd about the rows; excluded: {status: count} of runs that did not finish.
    """

    rows: Rows
    law: laws.Law
    priors: Priors
    sampler: Sampler
    seed: int
    ingredients: dict[str, Any]
    doubts: tuple[Doubt, ...] = ()
    excluded: dict[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """sha256 of everything that decides the posterior; not of how often `fit` drew anew."""
        return identity(self.ingredients)

    def reading(self) -> dict[str, Any]:
        """How the table was read and what is odd about it, as JSON values for a summary."""
        points = self.rows.points
        return {
            "columns": [asdict(found) for found in points.found],
            "derived": list(points.derived),
            "flops_per_token": points.flops_per_token,
            "warnings": [{"name": d.name, "says": d.says} for d in self.doubts if not d.note],
            "notes": [{"name": d.name, "says": d.says} for d in self.doubts if d.note],
        }


def request(
    table: pd.DataFrame | Path | str,
    law: laws.Law | str,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    priors: Priors | None = None,
    sampler: Sampler | None = None,
    source: str = "table",
    flops_per_token: str = "",
    wanted: Wanted | None = None,
) -> Request:
    """Check a fit's arguments (those of `moebook.bayes.fit`); InputError says what cannot be used."""
    law = laws.get(law) if isinstance(law, str) else law
    priors, sampler = priors or Priors(), sampler or Sampler()
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed: {seed!r}: must be a whole number of at least 0")
    if not isinstance(table, pd.DataFrame):
        source = str(table)
        table = read_table(table)
    table, excluded = finished(of_one_text(table, "", source), source)
    if table.empty:
        raise InputError(f"{source}: status: no run is finished")
    if priors.robust and wanted is not None and wanted.noise_by_compute:
        raise InputError("noise: either heavy tails or noise that changes with compute, not both")
    rows = take_rows(table, law, columns, source, flops_per_token, wanted)
    parts = ingredients(rows.sha256(), law, priors, sampler, int(seed), len(rows))
    return Request(rows, law, priors, sampler, int(seed), parts, tuple(doubts(rows, law)), excluded)
