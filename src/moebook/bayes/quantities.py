"""Numbers out of a table: what a law reads from each row, checked, and derived where it is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moebook.bayes.columns import LOSS, Found, called, known_fields, resolve, scale_of
from moebook.bayes.reading import numbered
from moebook.errors import InputError
from moebook.laws import Law

BLANK = "is blank"
#: Counts of the FLOPs of a token, forward and backward, that need no column of their own.
SIX_N, SIX_N_ACTIVE = "6N", "6NA"
#: What a quantity is made from where no column gives it.
_INSTEAD = {"sparsity": ("experts", "active"), "tokens": ("compute_flops", "params_active")}


@dataclass(frozen=True)
class Points:
    """Checked rows at which a law can be evaluated.

    columns: {column of the law: [rows]}; loss_nats [rows] where it was asked for; compute_flops [rows] where
    it is known; extras: other quantities of the table {name: [rows]}; seeds: what tells replicates apart,
    as text [rows]; numbers: of each row in its table;
    found: what each quantity was read from; flops_per_token: `6N`, `6NA`, a column, or empty where nothing
    says; derived: sentences that say what was computed from what.
    """

    columns: dict[str, np.ndarray]
    loss_nats: np.ndarray | None
    compute_flops: np.ndarray | None
    extras: dict[str, np.ndarray]
    seeds: np.ndarray | None
    numbers: np.ndarray
    found: tuple[Found, ...]
    flops_per_token: str
    derived: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, order: np.ndarray) -> Points:
        """The same rows in another order."""

        def taken(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[order]

        return replace(
            self,
            columns={name: values[order] for name, values in self.columns.items()},
            loss_nats=taken(self.loss_nats),
            compute_flops=taken(self.compute_flops),
            extras={name: values[order] for name, values in self.extras.items()},
            seeds=taken(self.seeds),
            numbers=self.numbers[order],
        )

    def column_of(self, name: str) -> str:
        """What a quantity is called in the table, or the formula that made it."""
        return next((found.column for found in self.found if found.field == name), called(name))


def take_points(
    table: pd.DataFrame,
    law: Law,
    names: Mapping[str, str] | None = None,
    source: str = "table",
    flops_per_token: str = "",
    losses: bool = False,
) -> Points:
    """What `law` reads from each row of a table, with the loss if `losses`.

    names: {quantity, or `loss`: column of the table}; what is left out is recognised by its name.
    flops_per_token: how C and D make each other: `6N`, `6NA` or a column; by default a column
    `flops_per_token` if there is one, else 6 N_a where active parameters are known, else 6 N.
    Raises InputError naming source, row, column and value of the first thing that cannot be used.
    """
    if table.empty:
        raise InputError(f"{source}: holds no rows")
    names = dict(names or {})
    fields = known_fields(law)
    for name in names:
        if name != "loss" and name not in fields:
            known = ", ".join((*law.columns, "loss"))
            raise InputError(f"columns: {name}: the law {law.name} has no such column; it reads {known}")
    convention = flops_per_token.replace(" ", "").replace("_", "").upper()
    if flops_per_token and convention not in (SIX_N, SIX_N_ACTIVE):
        names["flops_per_token"] = convention = flops_per_token
    wanted = fields if losses else tuple(name for name in fields if name != LOSS)
    columns = resolve(table, wanted, {n: c for n, c in names.items() if losses or n != "loss"}, source)
    label = columns.pop("seed", None)
    needed = {*law.columns, LOSS, *(LOSS if name == "loss" else name for name in names)}
    values: dict[str, np.ndarray] = {}
    unusable: dict[str, str] = {}
    found: list[Found] = []
    derived: list[str] = []

    def add(name: str, column: str, numbers: np.ndarray, scale: float = 1.0) -> None:
        values[name] = numbers
        found.append(Found.of(name, column, numbers, scale))

    rows = numbered(table)
    for name, column in columns.items():
        try:
            scale = scale_of(name, column, table[column], source)
            add(name, column, _read(table[column], name, column, rows, source) * scale, scale)
        except InputError as error:
            if name in needed:
                raise
            unusable[name] = str(error)  # said only if something has to come from it
    if "sparsity" in law.columns and "sparsity" not in values and {"experts", "active"} <= set(values):
        formula = f"(E - K) / E with E = {columns['experts']}, K = {columns['active']}"
        add("sparsity", formula, _sparsity(values["experts"], values["active"], columns, rows, source))
        derived.append(f"S = {formula}")
    if {"params", "params_active"} <= set(values):
        over = values["params_active"] > values["params"] * (1 + 1e-9)
        if over.any():
            i = int(np.argmax(over))
            raise InputError(
                f"{source}: row {rows[i]}: {columns['params_active']}: {values['params_active'][i]:g}: more "
                f"than all parameters, {columns['params']} = {values['params'][i]:g}"
            )
    cost, convention, doubtful = _flops_of_a_token(values, convention, columns, source)
    if "tokens" in law.columns and "tokens" not in values and "compute_flops" in values and cost is not None:
        if doubtful:
            raise InputError(
                f"{source}: tokens: no column; from C = 6 N D they would be too few where runs are sparse, "
                "since N counts experts that a token does not use: name --columns params_active=..., or "
                "insist with --flops-per-token 6N"
            )
        per_token, where = _spelled(convention, columns)
        formula = f"C / ({per_token}), C from {columns['compute_flops']}{where}"
        add("tokens", formula, values["compute_flops"] / cost)
        derived.append(f"D = {formula}")
    for name in (*law.columns, *([LOSS] if losses else [])):
        if name not in values:
            broken = [unusable[other] for other in _INSTEAD.get(name, ()) if other in unusable]
            raise InputError(broken[0] if broken else _missing(name, law, table, source))
    compute = values.get("compute_flops")
    if compute is None and cost is not None and "tokens" in values and not doubtful:
        compute = cost * values["tokens"]
        per_token, where = _spelled(convention, columns)
        derived.append(f"C = {per_token} D{where} (for budgets; the law does not read it)")
    return Points(
        columns={name: values[name] for name in law.columns},
        loss_nats=values.get(LOSS),
        compute_flops=compute,
        extras={name: numbers for name, numbers in values.items() if name not in (*law.columns, LOSS)},
        seeds=None if label is None else table[label].map(str).to_numpy(dtype=str),
        numbers=np.array(rows),
        found=tuple(found),
        flops_per_token=convention,
        derived=tuple(derived),
    )


def without_blanks(
    table: pd.DataFrame, law: Law, names: Mapping[str, str], source: str
) -> tuple[pd.DataFrame, int]:
    """The rows in which no cell is blank of those that `law` reads or that its quantities come from, and
    how many others there are."""
    known = {name: column for name, column in names.items() if name == "loss" or name in known_fields(law)}
    columns = resolve(table, known_fields(law), known, source)
    needed = {*law.columns, LOSS}
    for name, instead in _INSTEAD.items():
        if name in needed and name not in columns:
            needed.update(instead)
    read = [column for name, column in columns.items() if name in needed]
    blank = pd.Series(False, table.index)
    for column in read:
        blank |= table[column].map(lambda cell: number(cell)[1] == BLANK)
    if blank.all():
        raise InputError(f"{source}: every row has a blank among {', '.join(read)}")
    return table[~blank], int(blank.sum())


def _read(cells: pd.Series, name: str, column: str, rows: list[int], source: str) -> np.ndarray:
    """A column as finite float64 in its quantity's range; the first cell that is none is refused."""
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        value, wrong = number(cell)
        if not wrong and name == "sparsity":
            percent = " (a share, not percent)" if 1 < value <= 100 else ""
            wrong = "" if 0 <= value < 1 else f"must lie in [0, 1){percent}"
        elif not wrong and name in ("experts", "active"):
            wrong = "" if value >= 1 else "must be at least 1 (a dense model has 1)"
        elif not wrong and value <= 0:
            wrong = "must be positive"
        if wrong:
            said = f"{cell}: {wrong}" if wrong.startswith("must") else wrong
            raise InputError(f"{source}: row {rows[i]}: {column}: {said}")
        values[i] = value
    return values


def number(cell: Any) -> tuple[float, str]:
    """(value, what is wrong with it or empty): BLANK, or a sentence that says what it must be."""
    if isinstance(cell, str):
        if not cell.strip():
            return np.nan, BLANK
        try:
            value = float(cell.replace("_", "?"))  # Python would read 1_000
        except ValueError:
            return np.nan, f"{cell!r} is text: must be a number{_hint(cell)}"
    else:
        if pd.api.types.is_scalar(cell) and pd.isna(cell):
            return np.nan, BLANK
        if isinstance(cell, (bool, np.bool_)):
            return np.nan, f"{cell}: must be a number"
        try:
            value = float(cell)
        except (TypeError, ValueError):
            return np.nan, f"{str(cell)[:40]!r}: must be a number"
    return value, "" if np.isfinite(value) else "must be a finite number"


def _hint(cell: str) -> str:
    """How a number was perhaps meant that is written in no way that is read."""
    if re.fullmatch(r"-?\d+,\d+", cell) and not re.fullmatch(r"-?\d{1,3},\d{3}", cell):
        return " with a decimal point, not a comma"
    if re.fullmatch(r"-?\d{1,3}([,.' ]\d{3})+([.,]\d+)?", cell):
        return " without marks between thousands"
    if re.fullmatch(r"[\d.]+ ?[kKmMbBgGtT]", cell):
        return "; a unit belongs in the column's name (params_M, tokens_B)"
    return ""


def _sparsity(
    experts: np.ndarray, active: np.ndarray, columns: dict[str, str], rows: list[int], source: str
) -> np.ndarray:
    over = active > experts
    if over.any():
        i = int(np.argmax(over))
        raise InputError(
            f"{source}: row {rows[i]}: {columns['active']}: {active[i]:g}: more than there are experts, "
            f"{columns['experts']} = {experts[i]:g}"
        )
    return (experts - active) / experts


def _flops_of_a_token(
    values: dict[str, np.ndarray], convention: str, columns: dict[str, str], source: str
) -> tuple[np.ndarray | None, str, bool]:
    """FLOPs of a token in each row, how they are counted, and whether that overcounts sparse runs."""
    asked = bool(convention)
    if not asked:
        convention = columns.get("flops_per_token", "")
        convention = convention or (SIX_N_ACTIVE if "params_active" in values else SIX_N)
    name = {SIX_N: "params", SIX_N_ACTIVE: "params_active"}.get(convention)
    if name is None:
        return values["flops_per_token"], convention, False
    if name not in values:
        if asked:
            raise InputError(f"{source}: --flops-per-token: {convention}: no column for {name}")
        return None, "", False
    sparse = bool(np.any(values.get("sparsity", 0) > 0) or np.any(values.get("experts", 1) > 1))
    return 6 * values[name], convention, sparse and not asked and convention == SIX_N


def _spelled(convention: str, columns: dict[str, str]) -> tuple[str, str]:
    """FLOPs of a token by a convention, and where its letter comes from: `6 N`, `, N from params`."""
    letters = {SIX_N: ("6 N", "params"), SIX_N_ACTIVE: ("6 N_a", "params_active")}
    if convention not in letters:
        return convention, ""
    said, name = letters[convention]
    return said, f", {said[2:]} from {columns.get(name, name)}"


def _missing(name: str, law: Law, table: pd.DataFrame, source: str) -> str:
    """What to say of a table without a column that the law needs."""
    line = f"{source}: {called(name)}: no column for it; there are {', '.join(map(str, table.columns))}"
    if name == "sparsity":
        return f"{line}; without sparsity (or E and K) use --law chinchilla, which reads params and tokens"
    if name == "tokens":
        return f"{line}; name it as in --columns tokens=COLUMN, or name compute_flops, and D comes from C"
    return f"{line}; name it as in --columns {called(name)}=COLUMN"
