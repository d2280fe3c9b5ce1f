"""The rows that a fit sees: read from any table, checked, in one canonical order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.laws import Law

LOSS = "loss_nats"


@dataclass(frozen=True)
class Rows:
    """Checked rows, sorted so that their order in the table does not matter.

    columns: {column of the law: [rows]}; loss_nats [rows]; source: what messages call the table.
    """

    columns: dict[str, np.ndarray]
    loss_nats: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.loss_nats)

    def ordered(self, law: Law) -> list[np.ndarray]:
        """The columns in the order of the law's arguments."""
        return [self.columns[name] for name in law.columns]

    def sha256(self) -> str:
        """Hash of the numbers themselves; the same for every order of the rows."""
        values = {**self.columns, LOSS: self.loss_nats}
        return sha256_hex(canonical_json({name: [float(x).hex() for x in v] for name, v in values.items()}))


def read_table(path: Path | str) -> pd.DataFrame:
    """A table from .csv, .jsonl or .parquet, every cell as it stands; InputError where it cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.suffix == ".jsonl":
            table = pd.read_json(path, lines=True)
        else:
            table = pd.read_csv(path, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty") from None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a table: {str(error).splitlines()[0]}") from error
    if table.empty:
        raise InputError(f"{path}: holds no rows")
    return table


def take_rows(
    table: pd.DataFrame, law: Law, names: Mapping[str, str] | None = None, source: str = "table"
) -> Rows:
    """The rows that `law` reads from a table, or InputError naming the source, row, field and value.

    names: {column of the law, or `loss`: column of the table}; what is left out goes by its own name
    (`loss_nats` or `loss` for the loss). Rows are numbered from 1 below the header.
    """
    wanted = _table_columns(table, law, dict(names or {}), source)
    columns = {field: _numbers(table[column], column, source) for field, column in wanted.items()}
    for field, values in columns.items():
        column = wanted[field]
        if field == "sparsity":
            _refuse((values < 0) | (values >= 1), table[column], column, source, "must lie in [0, 1)")
        else:
            _refuse(values <= 0, table[column], column, source, "must be positive")
    if len(table) <= len(law.coefficients):
        raise InputError(
            f"{source}: rows: {len(table)}: the law {law.name} has {len(law.coefficients)} coefficients "
            f"and needs at least {len(law.coefficients) + 1} runs"
        )
    for field in law.columns:
        if len(np.unique(columns[field])) == 1:
            raise InputError(
                f"{source}: {wanted[field]}: {columns[field][0]:.6g}: the same in every row; "
                f"the law {law.name} has a term in {field}, which only runs that differ in it can show"
            )
    order = np.lexsort([columns[field] for field in (LOSS, *reversed(law.columns))])
    loss_nats = columns.pop(LOSS)[order]
    return Rows({field: columns[field][order] for field in law.columns}, loss_nats, source)


def _table_columns(table: pd.DataFrame, law: Law, names: dict[str, str], source: str) -> dict[str, str]:
    """{field: column of the table} for the law's columns and the loss."""
    if "loss" in names:
        names[LOSS] = names.pop("loss")
    fields = (*law.columns, LOSS)
    for field in names:
        if field not in fields:
            known = ", ".join((*law.columns, "loss"))
            raise InputError(f"columns: {field}: the law {law.name} has no such column; it reads {known}")
    present = [str(column) for column in table.columns]
    if LOSS not in names and LOSS not in present and "loss" in present:
        names[LOSS] = "loss"
    wanted = {field: names.get(field, field) for field in fields}
    for field, column in wanted.items():
        if column not in present:
            raise InputError(
                f"{source}: {column}: no such column for {field}; there are {', '.join(present)}"
            )
    return wanted


def _numbers(cells: pd.Series, column: str, source: str) -> np.ndarray:
    """A column as finite float64."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    _refuse(~np.isfinite(values), cells, column, source, "must be a finite number")
    return values


def _refuse(bad: np.ndarray, cells: pd.Series, column: str, source: str, why: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{source}: row {row + 1}: {column}: {cells.iloc[row]}: {why}")
