"""The runs whose scores are asked about: stored records with their items, or a table of somebody's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS, Found, called, resolve, scale_of
from moebook.bayes.quantities import BLANK, number
from moebook.bayes.reading import numbered
from moebook.bayes.stored import left_out, read_runs
from moebook.downstream.common import SCORES, CommonScores, common_scores
from moebook.downstream.equal_loss import TRUNK
from moebook.errors import InputError
from moebook.runs import Store

#: What a table of somebody's own may say; the first two it must.
FIELDS = (LOSS, "sparsity", "experts", "active", "compute_flops", "seed", "width")


def read_scores(
    table: Path, text: str = "", scores: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> CommonScores:
    """Runs with scores. From a folder of records: SCORES over their common items; from a file: the columns
    `scores`, as they stand, and no items.

    names: {quantity: column} of a file, for those of FIELDS that are not recognised by their name. Raises
    InputError naming file, row and column.
    """
    rows, source, excluded = read_runs(table, text)
    if table.is_dir():
        if names:
            raise InputError(f"{source}: --columns: is for a table of yours; records have names of their own")
        for name in scores:
            if name not in {score.name for score in SCORES}:
                known = ", ".join(score.name for score in SCORES)
                raise InputError(f"{source}: --score: {name}: no such score; there are {known}")
        found = common_scores(Store(table), rows)
    else:
        found = _of_table(rows, source, scores, dict(names or {}))
    first = f"{source}: {len(rows)} runs{left_out(excluded)}"
    return replace(found, notes=(first, *found.notes))


def _of_table(
    rows: pd.DataFrame, source: str, scores: Sequence[str], names: Mapping[str, str]
) -> CommonScores:
    there = ", ".join(map(str, rows.columns))
    if not scores:
        raise InputError(f"{source}: --score: missing: which columns are scores? there are {there}")
    if unknown := set(names) - {called(field) for field in FIELDS} - set(FIELDS):
        known = ", ".join(map(called, FIELDS))
        raise InputError(f"{source}: --columns: {min(unknown)}: is read by no score; there are {known}")
    columns = resolve(rows, FIELDS, names, source)
    numbers, notes = _quantities(rows, columns, source)
    for name in scores:
        if name not in rows:
            raise InputError(f"{source}: --score: {name}: no such column; there are {there}")
        if name in columns.values():
            field = next(called(f) for f, column in columns.items() if column == name)
            raise InputError(f"{source}: --score: {name}: is the {field}, and no score beside it")
        if name in (*TRUNK, *FIELDS):
            raise InputError(f"{source}: --score: {name}: has a meaning of its own here; rename the column")
        numbers[name] = _numbers(rows, name, source, blank=True)
        if blank := int(np.isnan(numbers[name]).sum()):
            notes.append(f"{name}: {blank} runs without it are left out")
    runs = pd.DataFrame(numbers)
    if copies := int(runs.duplicated().sum()):
        notes.append(f"warning: {copies} rows repeat the numbers of others: copied runs count twice")
    return CommonScores(runs, {}, tuple(notes))


def _quantities(
    rows: pd.DataFrame, columns: Mapping[str, str], source: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """({quantity: numbers [rows]}, what was read from what) of the columns; the sparsity is always there."""
    if "sparsity" not in columns and not {"experts", "active"} <= set(columns):
        raise InputError(f"{source}: sparsity: no column for it, nor for experts and active")
    if LOSS not in columns:
        raise InputError(f"{source}: loss: no column for it; --columns loss=COLUMN")
    needed = {LOSS, "sparsity"} if "sparsity" in columns else {LOSS, "experts", "active"}
    numbers, notes = {}, []
    for field, column in columns.items():
        unit = scale_of(field, column, rows[column], source)
        values = _numbers(rows, column, source, blank=field not in needed) * unit
        if blank := int(np.isnan(values).sum()):
            notes.append(f"{column}: is blank in {blank} runs, so it is not used as their {called(field)}")
        else:
            numbers[field] = values
            notes.append(Found.of(field, column, values, unit).text())
    if "sparsity" not in numbers:
        experts = numbers["experts"]  # a dense model is often given no expert at all
        share = 1 - numbers["active"] / np.where(experts == 0, 1, experts)
        numbers["sparsity"] = np.where(experts == 0, 0.0, share)
    if (wrong := ~((numbers["sparsity"] >= 0) & (numbers["sparsity"] < 1))).any():
        i = int(np.argmax(wrong))
        value = numbers["sparsity"][i]
        raise InputError(f"{source}: row {numbered(rows)[i]}: sparsity: {value:g}: must lie in [0, 1)")
    return numbers, notes


def _numbers(rows: pd.DataFrame, column: str, source: str, blank: bool) -> np.ndarray:
    """A column as numbers [rows]; a blank is nan where `blank` allows it."""
    values = np.empty(len(rows))
    for i, cell in enumerate(rows[column]):
        values[i], wrong = number(cell)
        if wrong and not (blank and wrong == BLANK):
            said = f"{cell}: {wrong}" if wrong.startswith("must") else wrong
            raise InputError(f"{source}: row {numbered(rows)[i]}: {column}: {said}")
    return values
