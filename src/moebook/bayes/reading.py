"""Tables of runs from files: CSV, Parquet, JSON lines, and what Weights & Biases exports.

A table is a DataFrame whose index, named `row`, counts its rows from 1 below the header, so that messages
can name a row after others were left out. Cells of text files stay text: `data` turns them into numbers and
says which cell is none.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from moebook.errors import InputError

ROW = "row"
SEPARATORS = (",", ";", "\t")
FINISHED = {"finished", "done", "completed", "complete", "success", "succeeded", "ok"}
UNFINISHED = {
    "running", "crashed", "failed", "killed", "preempted", "preempting", "pending", "queued", "diverged",
    "cancelled", "canceled", "timeout", "error", "stopped", "interrupted", "aborted", "terminated",
    "unfinished", "incomplete", "oom",
}  # fmt: skip
#: What a run's status is called; Weights & Biases says State.
STATUS = ("status", "state", "_state", "run_state")
#: Columns in which Weights & Biases keeps a whole dictionary a run.
NESTED = ("config", "summary", "summary_metrics", "summaryMetrics")


def read_table(path: Path | str) -> pd.DataFrame:
    """A table from a file, every run a row, every cell as it stands; InputError where it cannot be read.

    By suffix: .parquet; .jsonl or .ndjson; .json (a list of runs, as Weights & Biases' API gives them);
    anything else is text separated by commas, semicolons or tabs, whichever cut its header into most parts.
    Each may end in .gz as well. Dictionaries in cells become columns (`config.n_layers`).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    if kind in (".xlsx", ".xls", ".ods"):
        raise InputError(f"{path}: {kind}: spreadsheets are not read; save the sheet as .csv")
    try:
        content = path.read_bytes()
        if suffixes and suffixes[-1] == ".gz":
            content = gzip.decompress(content)
        if kind in (".parquet", ".pq"):
            table = pd.read_parquet(io.BytesIO(content))
        else:
            text = content.decode("utf-8-sig")
            if not text.strip():
                raise InputError(f"{path}: is empty")
            table = _json(text, path, lines=kind != ".json") if "json" in kind else _separated(text, path)
    except InputError:  # a ValueError itself
        raise
    except (ValueError, TypeError, AttributeError, EOFError, OSError, csv.Error, zlib.error) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a table: {said}") from error
    table = _unnested(table)
    if table.empty:
        raise InputError(f"{path}: holds no rows")
    table.index = pd.RangeIndex(1, len(table) + 1, name=ROW)
    return table


def finished(table: pd.DataFrame, source: Path | str = "fit") -> tuple[pd.DataFrame, dict[str, int]]:
    """The runs that came to their end and were made for the table, and {status or purpose: count} of others.

    A column of statuses is one with such a name in which a known status stands; without one, every row
    counts as finished. Purposes are read from tables that `moebook runs table` wrote. Raises InputError
    naming the row where a column of statuses does not say whether a run is finished.
    """
    table, aside = _of_the_table(table)
    done, unfinished = _finished(table, source)
    return done, aside | unfinished


def is_export(table: pd.DataFrame) -> bool:
    """Whether a table has the columns that `moebook runs table` writes; its text may have been dropped."""
    return {"key", "study", "purpose", "numerics"} <= set(table.columns)


def of_one_text(table: pd.DataFrame, text: str, source: Path | str) -> pd.DataFrame:
    """The rows of a text of an exported table; of the only one, where none is named.

    Another table is returned as it is. Raises InputError where there is no such text, or several and none
    is named.
    """
    if not is_export(table) or "text" not in table:
        if text:
            raise InputError(f"fit: --text: {text}: {source} is no table of records, which has texts")
        return table
    named = table["text"].fillna("").astype(str)
    rows = table[named == text] if text else table
    texts = sorted(set(named))
    if rows.empty:
        raise InputError(f"{source}: text: {text}: no such runs (known: {', '.join(texts) or 'none'})")
    if not text and len(texts) > 1:
        listed = ", ".join(texts)
        raise InputError(f"{source}: text: {listed}: losses compare within one text; choose by --text")
    return rows


def _of_the_table(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    if not is_export(table):
        return table, {}
    purpose = table["purpose"].astype(object).fillna("").astype(str)
    left_out = purpose[purpose != ""].value_counts()
    return table[purpose == ""], {str(name): int(count) for name, count in left_out.items()}


def _finished(table: pd.DataFrame, source: Path | str) -> tuple[pd.DataFrame, dict[str, int]]:
    for name in table.columns:
        if str(name).lower() not in STATUS:
            continue
        said = table[name].map(lambda cell: str(cell).strip().lower())
        known = said.isin(FINISHED | UNFINISHED)
        if not known.any():
            continue
        if not known.all():
            first = int((~known).to_numpy().argmax())
            cell = table[name].iloc[first]
            spelt = "" if pd.api.types.is_scalar(cell) and pd.isna(cell) else str(cell)
            raise InputError(
                f"{source}: row {numbered(table)[first]}: {name}: {spelt!r}: does not say whether the run is "
                "finished, as the column does elsewhere"
            )
        done = said.isin(FINISHED)
        left_out = said[~done].value_counts()
        return table[done], {str(status): int(count) for status, count in left_out.items()}
    return table, {}


def numbered(table: pd.DataFrame) -> list[int]:
    """The number of each row, as messages name it."""
    if table.index.name == ROW:
        return [int(number) for number in table.index]
    return list(range(1, len(table) + 1))


def _separated(text: str, path: Path) -> pd.DataFrame:
    """Rows of text, cells as strings without the spaces around them."""
    first = text.lstrip("\r\n").splitlines()[0]
    separator = max(SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
    lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    rows = [[cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line)]
    header, rows = rows[0], rows[1:]
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise InputError(f"{path}: {min(twice) or 'a column without a name'}: two columns have this name")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise InputError(f"{path}: row {number}: has {len(row)} cells; the header has {len(header)}")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _json(text: str, path: Path, lines: bool) -> pd.DataFrame:
    """Runs as JSON objects, one a line or all in a list."""
    if lines:
        runs: list[Any] = []
        for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
            try:
                runs.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: row {number}: is no JSON: {error}") from None
    else:
        try:
            runs = json.loads(text)
        except RecursionError as error:
            raise InputError(f"{path}: is no JSON of runs: {error}") from None
        if isinstance(runs, dict):  # {"runs": [...]}, or one list a column
            listed = [value for value in runs.values() if isinstance(value, list)]
            if len(runs) > 1 and len(listed) == len(runs):
                return pd.DataFrame(runs, dtype=object)
            runs = listed[0] if len(listed) == 1 else [runs]
    for number, run in enumerate(runs, start=1):
        if not isinstance(run, dict):
            raise InputError(f"{path}: row {number}: {str(run)[:40]}: is no run: must be a JSON object")
    return pd.DataFrame([dict(_flat(run)) for run in runs], dtype=object)


def _unnested(table: pd.DataFrame) -> pd.DataFrame:
    """Cells that spell a dictionary, as columns of their own."""
    for name in [name for name in NESTED if name in table.columns]:
        parsed = [_dictionary(cell) for cell in table[name]]
        if all(cells is not None for cells in parsed):
            inside = pd.DataFrame([dict(_flat({name: cells})) for cells in parsed], index=table.index)
            new = [column for column in inside.columns if column not in table.columns]
            table = pd.concat([table.drop(columns=name), inside[new]], axis=1)
    return table


def _flat(run: dict[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """(path joined by dots, value) of every leaf; Weights & Biases' {"value": x, "desc": ...} is a leaf."""
    for name, value in run.items():
        path = f"{before}{name}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _dictionary(cell: Any) -> dict[str, Any] | None:
    """A cell that is, or spells in JSON or in Python, a dictionary; None where it does not."""
    if isinstance(cell, dict):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            # Python spells a missing number nan, which is no literal.
            value = read(cell if read is json.loads else re.sub(r"(?<=: )-?(?:nan|inf)\b", "None", cell))
        except (ValueError, TypeError, SyntaxError):
            continue
        if isinstance(value, dict):
            return value
    return None
