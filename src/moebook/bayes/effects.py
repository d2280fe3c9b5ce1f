"""What moves log loss beside the law: the group of a row, covariates, and noise that changes with compute."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from moebook.bayes.reading import numbered
from moebook.errors import InputError

#: Values that h may take in noise = sigma (C / C0)^-h: up to a factor of two a decade, either way.
EXPONENTS = np.linspace(-0.3, 0.3, 7)


@dataclass(frozen=True)
class Wanted:
    """What a fit shall take into account, by columns of its table.

    group: rows of one value share an offset of log loss (recipe, corpus), drawn from a common distribution;
    covariates: numbers that move log loss by linear x + square x^2; answers are for x = 0, so a learning
    rate enters as log2 of its ratio to the rate that one would choose;
    noise_by_compute: whether noise may change with compute.
    """

    group: str = ""
    covariates: tuple[str, ...] = ()
    noise_by_compute: bool = False


@dataclass(frozen=True)
class Effects:
    """The same for checked rows.

    groups: names; group_of_row [rows], indices into them; covariates {name: [rows]}; compute_flops [rows]
    where noise changes with it.
    """

    groups: tuple[str, ...] = ()
    group_of_row: np.ndarray | None = None
    covariates: dict[str, np.ndarray] = field(default_factory=dict)
    compute_flops: np.ndarray | None = None

    def matrix(self) -> np.ndarray | None:
        """The covariates [rows, covariates], or None."""
        return np.stack(list(self.covariates.values()), axis=1) if self.covariates else None

    def noise_of_rows(self) -> list[np.ndarray]:
        """Relative noise of each row, an array [rows] for each exponent; none where it is one everywhere."""
        if self.compute_flops is None:
            return []
        logs = np.log(self.compute_flops)
        return [np.exp(-h * (logs - logs.mean())) for h in EXPONENTS]

    def numbers(self) -> dict[str, list[object]]:
        """What decides a posterior, for its identity; empty without effects."""
        parts: dict[str, list[object]] = {}
        if self.group_of_row is not None:
            parts["group"] = [self.groups[i] for i in self.group_of_row]
        parts |= {f"covariate {n}": [float(x).hex() for x in v] for n, v in self.covariates.items()}
        if self.compute_flops is not None:
            parts["noise by compute"] = [float(x).hex() for x in self.compute_flops]
        return parts


def take_effects(
    table: pd.DataFrame, wanted: Wanted, compute_flops: np.ndarray | None, order: np.ndarray, source: str
) -> Effects:
    """The effects of a table's rows, put into `order` [rows]; compute_flops [rows] is in that order already.

    Raises InputError naming source, row and column where they cannot be used.
    """
    groups: tuple[str, ...] = ()
    index = None
    if wanted.group:
        labels = _cells(table, wanted.group, "--group", source).map(str).to_numpy(dtype=str)
        groups = tuple(sorted(set(labels)))
        if len(groups) < 2:
            raise InputError(f"{source}: {wanted.group}: {groups[0]}: one group has no other to differ from")
        if len(groups) > len(labels) / 3:
            raise InputError(
                f"{source}: {wanted.group}: {len(groups)} groups for {len(labels)} rows: at least three rows "
                "a group, or the groups explain everything"
            )
        index = np.searchsorted(groups, labels)[order]
    covariates = {}
    for name in wanted.covariates:
        cells = pd.to_numeric(_cells(table, name, "--covariate", source), errors="coerce").to_numpy(float)
        if not np.isfinite(cells).all():
            i = int(np.argmax(~np.isfinite(cells)))
            where = f"{source}: row {numbered(table)[i]}: {name}: {table[name].iloc[i]}"
            raise InputError(f"{where}: must be a number")
        if np.ptp(cells) == 0:
            raise InputError(f"{source}: {name}: {cells[0]:.6g}: the same in every row")
        covariates[name] = cells[order]
    if wanted.noise_by_compute and compute_flops is None:
        raise InputError(f"{source}: compute_flops: not known, so that noise cannot change with it")
    if wanted.noise_by_compute and np.ptp(compute_flops) == 0:
        raise InputError(f"{source}: compute_flops: {compute_flops[0]:.6g}: the same in every row")
    return Effects(groups, index, covariates, compute_flops if wanted.noise_by_compute else None)


def _cells(table: pd.DataFrame, column: str, option: str, source: str) -> pd.Series:
    """A column that the user named, without blanks."""
    if column not in table.columns:
        there = ", ".join(map(str, table.columns))
        raise InputError(f"{source}: {option}: {column}: no such column; there are {there}")
    cells = table[column]
    blank = cells.map(lambda cell: cell is None or not str(cell).strip() or cell != cell).to_numpy(dtype=bool)
    if blank.any():
        raise InputError(f"{source}: row {numbered(table)[int(blank.argmax())]}: {column}: is blank")
    return cells
