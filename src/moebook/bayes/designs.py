"""Designs for calibration: where runs are, whatever their losses were."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS
from moebook.bayes.data import Rows, take_rows
from moebook.laws import Law

GRID = "grid"
_SPANS = {
    "params": (2e7, 2e9), "params_active": (2e7, 2e9), "tokens": (1e9, 1e11), "compute_flops": (1e18, 1e21),
}  # fmt: skip
_LEVELS = {"sparsity": (0.0, 0.75, 0.9375, 0.984375), "experts": (1, 4, 16, 64), "granularity": (1, 2, 4, 8)}
#: Points an axis, by the number of axes: 36 runs of a law of two columns, 64 of one of three.
_POINTS = {1: 20, 2: 6, 3: 4}


def grid_of(law: Law) -> Rows:
    """A grid over the law's columns, as other people's runs are; the geometric mean loss is 1 nat."""
    points = _POINTS[len(law.columns)]
    axes = [
        np.geomspace(*_SPANS[name], points) if name in _SPANS else _LEVELS[name][:points]
        for name in law.columns
    ]
    table = pd.DataFrame(list(product(*axes)), columns=list(law.columns), dtype=float)
    losses = np.exp(np.linspace(-0.1, 0.1, len(table)))  # any, since a truth makes its own
    return take_rows(table.assign(**{LOSS: losses}), law, source=GRID)


def design_of(table: pd.DataFrame, law: Law, columns: Mapping[str, str] | None, source: str) -> Rows:
    """The rows of a table; their mean log loss is where the prior's level lies."""
    return take_rows(table, law, columns, source)
