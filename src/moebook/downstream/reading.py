"""The runs whose scores are asked about: stored records with their items, or a table of somebody's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS, called, resolve, scale_of
from moebook.bayes.reading import numbered
from moebook.bayes.stored import read_runs
from moebook.downstream.common import SCORES, CommonScores, common_scores
from moebook.errors import InputError
from moebook.runs import Store

#: What a table of somebody's own may say; the first two it must.
FIELDS = (LOSS, "sparsity", "experts", "active", "compute_flops", "seed", "width")
#: Names that mean something else to `at_equal_loss`.
TAKEN = ("budget_flops", "batch_tokens", "learning_rate", "granularity", "shared_experts")


def read_scores(
    table: Path, text: str = "", scores: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> CommonScores:
    """Runs with scores. From a folder of records: SCORES over their common items; from a file: the columns
    `scores`, as they stand, and no items.

    names: {quantity: column} of a file, for those of FIELDS that are not recognised by their name. Raises
    InputError naming file, row and column.
    """
    rows, source, excluded = read_runs(table, text)
    left_out = "".join(f", {count} {status} left out" for status, count in excluded.items())
    first = f"{source}: {len(rows)} runs{left_out}"
    if table.is_dir():
        if names:
            raise InputError(f"{source}: --columns: is for a table of yours; records have names of their own")
        for name in scores:
            if name not in {score.name for score in SCORES}:
                known = ", ".join(score.name for score in SCORES)
                raise InputError(f"{source}: --score: {name}: no such score; there are {known}")
        found = common_scores(Store(table), rows)
        return replace(found, notes=(first, *found.notes))
    if not scores:
        there = ", ".join(map(str, rows.columns))
        raise InputError(f"{source}: --score: missing: which columns are scores? there are {there}")
    names = dict(names or {})
    if unknown := set(names) - {called(field) for field in FIELDS} - set(FIELDS):
        known = ", ".join(map(called, FIELDS))
        raise InputError(f"{source}: --columns: {min(unknown)}: is read by no score; there are {known}")
    found = resolve(rows, FIELDS, names, source)
    notes = [first, *(f"{called(field)} <- {column}" for field, column in found.items())]
    if "sparsity" not in found and not {"experts", "active"} <= set(found):
        raise InputError(f"{source}: sparsity: no column for it, nor for experts and active")
    if LOSS not in found:
        raise InputError(f"{source}: loss: no column for it; --columns loss=COLUMN")
    needed = {LOSS, "sparsity"} if "sparsity" in found else {LOSS, "experts", "active"}
    numbers = {}
    for field, column in found.items():
        unit = scale_of(field, column, rows[column], source)
        values = _numbers(rows, column, source, blank=field not in needed) * unit
        if np.isnan(values).any():
            notes.append(f"{called(field)}: is blank in {np.isnan(values).sum()} runs, so it is not used")
        else:
            numbers[field] = values
    if "sparsity" not in numbers:
        experts = numbers["experts"]  # a dense model is often given no expert at all
        numbers["sparsity"] = np.where(
            experts == 0, 0.0, 1 - numbers["active"] / np.where(experts == 0, 1, experts)
        )
    if (wrong := ~((numbers["sparsity"] >= 0) & (numbers["sparsity"] < 1))).any():
        i = int(np.argmax(wrong))
        raise InputError(
            f"{source}: row {numbered(rows)[i]}: sparsity: {numbers['sparsity'][i]:g}: must lie in [0, 1)"
        )
    for name in scores:
        if name not in rows:
            there = ", ".join(map(str, rows.columns))
            raise InputError(f"{source}: --score: {name}: no such column; there are {there}")
        if name in (*TAKEN, *FIELDS) and name not in found.values():
            raise InputError(f"{source}: --score: {name}: has a meaning of its own here; rename the column")
        if name in found.values():
            field = next(called(f) for f, column in found.items() if column == name)
            raise InputError(f"{source}: --score: {name}: is the {field}, and no score beside it")
        numbers[name] = _numbers(rows, name, source, blank=True)
        if blank := int(np.isnan(numbers[name]).sum()):
            notes.append(f"{name}: {blank} runs without it are left out")
    runs = pd.DataFrame(numbers)
    if copies := int(runs.duplicated().sum()):
        notes.append(f"warning: {copies} rows repeat the numbers of others: copied runs count twice")
    return CommonScores(runs, {}, tuple(notes))


def _numbers(rows: pd.DataFrame, column: str, source: str, blank: bool) -> np.ndarray:
    """A column as numbers [rows]; a blank is nan where `blank` allows it."""
    cells = rows[column]
    empty = cells.map(lambda cell: cell is None or cell != cell or not str(cell).strip()).to_numpy(bool)
    values = pd.to_numeric(cells.mask(empty), errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(values) & ~(empty if blank else np.zeros_like(empty))
    if wrong.any():
        i = int(np.argmax(wrong))
        said = "is blank" if empty[i] else f"{str(cells.iloc[i])!r}: must be a number"
        raise InputError(f"{source}: row {numbered(rows)[i]}: {column}: {said}")
    return values
