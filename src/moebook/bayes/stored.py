"""The rows of a fit, from a file or from the stored records of one text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from moebook.bayes.reading import finished, of_one_text, read_table
from moebook.errors import InputError
from moebook.runs.table import load_table


def left_out(excluded: Mapping[str, int]) -> str:
    """`, 3 failed left out`, to stand behind a count of runs; empty where none was."""
    return "".join(f", {count} {status} left out" for status, count in excluded.items())


def read_runs(table: Path, text: str) -> tuple[pd.DataFrame, str, dict[str, int]]:
    """The runs to fit: (rows, what messages call them, {status or purpose: count} of those
    that did not finish or were not made for the table).

    table: a file that `read_table` reads, or a folder of records, of which those on `text` are taken.
    Raises InputError naming the file or folder and what is wrong with it.
    """
    # Row numbers mean nothing to a reader of records: their keys do.
    label = f"{table}" + (f" ({text})" if text else "")
    if not table.is_dir():
        rows, excluded = finished(of_one_text(read_table(table), text, table), table)
        if rows.empty:
            raise InputError(f"{table}: status: no run is finished, or made for the table")
        return rows, label, excluded
    rows = of_one_text(load_table(table), text, table)
    # A run that was made to tune a recipe, or held out to be forecast, is not of the table.
    why = rows["purpose"].where(rows["purpose"] != "", rows["status"])
    done = rows[why == "done"]
    left_out = why[why != "done"].value_counts()
    for name, says in (("text_sha256", "two texts of one name"), ("numerics", "two kinds of numerics")):
        if (kinds := done.groupby(name).size()).size > 1:
            counted = ", ".join(f"{str(kind)[:12]} ({count} runs)" for kind, count in kinds.items())
            raise InputError(f"{label}: {name}: {counted}: {says} make no one table")
    if done.empty:
        raise InputError(f"{table}: status: no run is done, or made for the table")
    return done.reset_index(drop=True), label, {str(name): int(count) for name, count in left_out.items()}
