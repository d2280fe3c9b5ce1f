"""What is asked of a fit, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moebook import laws
from moebook.bayes.data import Rows, read_table, take_rows
from moebook.bayes.identity import identity, ingredients
from moebook.bayes.priors import Priors
from moebook.errors import InputError


@dataclass(frozen=True)
class Sampler:
    """Settings of nutpie. `stored` draws of each chain are kept, evenly spaced, as float32."""

    chains: int = 4
    draws: int = 2000
    tune: int = 1000
    target_accept: float = 0.97
    stored: int = 500
    prior_draws: int = 2000

    def __post_init__(self) -> None:
        for name in ("chains", "draws", "tune", "stored", "prior_draws"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"sampler: {name}: {value!r}: must be a whole number of at least 1")
        if self.chains < 2:
            raise InputError(f"sampler: chains: {self.chains}: at least 2, so that they can be compared")
        if not 0 < self.target_accept < 1:
            raise InputError(f"sampler: target_accept: {self.target_accept}: must lie between 0 and 1")


@dataclass(frozen=True)
class Request:
    """A fit to be done: its rows, its settings, and the ingredients of its identity."""

    rows: Rows
    law: laws.Law
    priors: Priors
    sampler: Sampler
    seed: int
    ingredients: dict[str, Any]

    @property
    def identity(self) -> str:
        """sha256 of everything that decides the posterior."""
        return identity(self.ingredients)


def request(
    table: pd.DataFrame | Path | str,
    law: laws.Law | str,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    priors: Priors | None = None,
    sampler: Sampler | None = None,
    source: str = "table",
) -> Request:
    """Check a fit's arguments (those of `moebook.bayes.fit`); InputError says what cannot be used."""
    law = laws.get(law) if isinstance(law, str) else law
    priors, sampler = priors or Priors(), sampler or Sampler()
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed: {seed!r}: must be a whole number of at least 0")
    if not isinstance(table, pd.DataFrame):
        source = str(table)
        table = read_table(table)
    rows = take_rows(table, law, columns, source)
    parts = ingredients(rows.sha256(), law, priors, sampler, int(seed))
    return Request(rows, law, priors, sampler, int(seed), parts)
