"""Which column of a table is which quantity: by the names that people give them, and their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import pandas as pd

from moebook.errors import InputError
from moebook.laws import Law

LOSS = "loss_nats"

#: The names of each quantity, in tiers: a later tier counts only where no earlier one is in the table. One
#: letter means what it does in the literature, in this case only; other names go by any case and separator.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "params": (("params",), (
        "N", "n_params", "num_params", "parameters", "n_parameters", "num_parameters", "parameter_count",
        "params_total", "total_params", "total_parameters", "total_parameter_count", "model_params",
        "model_parameters",
    ), ("model_size", "size")),
    "params_active": (("params_active",), (
        "N_a", "Na", "active_params", "active_parameters", "n_params_active", "n_active_params",
        "num_active_params", "activated_params", "activated_parameters",
    )),
    "params_nonembedding": (("params_nonembedding",), (
        "non_embedding_params", "nonembedding_params", "params_non_embedding", "n_params_non_embedding",
    )),
    "params_active_nonembedding": (("params_active_nonembedding",), ("active_nonembedding_params",)),
    "tokens": (("tokens",), (
        "D", "n_tokens", "num_tokens", "train_tokens", "training_tokens", "tokens_seen", "tokens_trained",
        "total_tokens", "tokens_total", "train_tokens_seen", "dataset_tokens", "tokens_processed",
    )),
    "sparsity": (("sparsity",), ("S", "expert_sparsity", "moe_sparsity")),
    "experts": (("experts",), (
        "E", "n_experts", "num_experts", "total_experts", "experts_total", "n_routed_experts",
        "num_routed_experts", "routed_experts", "num_local_experts", "moe_num_experts",
    )),
    "active": (("active",), (
        "K", "k", "top_k", "topk", "experts_per_token", "num_experts_per_tok", "num_experts_per_token",
        "active_experts", "n_active_experts", "num_active_experts", "moe_top_k", "router_top_k",
    )),
    "granularity": (("granularity",), ("G", "expert_granularity", "moe_granularity")),
    "compute_flops": (("compute_flops",), (
        "C", "compute", "flops", "flop", "train_flops", "training_flops", "total_flops", "flops_total",
        "training_compute", "compute_budget", "flop_budget", "flops_budget", "pf_days", "petaflop_days",
        "petaflop_s_days",
    )),
    "flops_per_token": (("flops_per_token",), ()),
    LOSS: (("loss_nats",), ("loss",), ("L", "final_loss"), (
        "val_loss", "validation_loss", "valid_loss", "eval_loss", "test_loss", "loss_validation", "loss_val",
        "loss_eval", "final_val_loss", "heldout_loss", "dev_loss",
    ), ("bits_per_byte", "bpb", "val_bpb", "eval_bpb", "bits_per_character", "bpc", "loss_bits"), (
        "train_loss", "training_loss", "loss_train", "final_train_loss",
    )),
    "seed": (("seed",), ("random_seed", "init_seed", "model_seed")),
}  # fmt: skip
TRAINING_LOSS = NAMES[LOSS][-1]
PERPLEXITIES = {"ppl", "perplexity", "val_ppl", "val_perplexity", "eval_ppl", "eval_perplexity", "test_ppl"}
COUNTS = (
    "params", "params_active", "params_nonembedding", "params_active_nonembedding", "tokens", "compute_flops",
)  # fmt: skip
#: Numbers beyond these are none: the largest runs known lie a hundred times below.
LARGEST = dict.fromkeys(COUNTS, 1e14) | {"tokens": 1e16, "compute_flops": 1e29}
_PREFIXES = ("config.", "summary.", "summary_metrics.", "summaryMetrics.", "config/", "summary/")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12} | {
    f"{name}{s}": size for name, size in
    (("thousand", 1e3), ("million", 1e6), ("billion", 1e9), ("trillion", 1e12)) for s in ("", "s")
}  # fmt: skip
_WHOLE = {
    "pf_days": 8.64e19, "petaflop_days": 8.64e19, "petaflop_s_days": 8.64e19,
    **dict.fromkeys(("bits_per_byte", "bpb", "val_bpb", "eval_bpb", "bits_per_character", "bpc"), log(2)),
    "loss_bits": log(2),
}  # fmt: skip
_SUFFIX = re.compile(
    r"^(.+?)(?:_in)?[ _]*(?:[ _]([a-z]+)|\(([a-z]+)\)|\[([a-z]+)\]|[ _]\(?(1e\d+)\)?)$", re.I
)


@dataclass(frozen=True)
class Found:
    """What a quantity was read from.

    field: the quantity; column: its name in the table, or how it was derived; scale: what a cell is
    multiplied by; low, high, distinct: ends and number of different values, in the quantity's own unit.
    """

    field: str
    column: str
    low: float
    high: float
    distinct: int
    scale: float = 1.0

    @classmethod
    def of(cls, field: str, column: str, values: np.ndarray, scale: float = 1.0) -> Found:
        """What was found in a column; values [rows] in the quantity's own unit."""
        return cls(field, column, float(values.min()), float(values.max()), len(np.unique(values)), scale)

    def text(self) -> str:
        """`params <- N: 1.2e+06 to 3.4e+08, 7 values`."""
        times = f" x {self.scale:.6g}" if self.scale != 1 else ""
        ends = f"{self.low:.5g} to {self.high:.5g}" if self.distinct > 1 else f"{self.low:.5g}"
        values = f"{self.distinct} values" if self.distinct > 1 else "the same in every row"
        return f"{called(self.field)} <- {self.column}{times}: {ends}, {values}"


def called(field: str) -> str:
    """A quantity as people name it on the command line."""
    return "loss" if field == LOSS else field


def resolve(
    table: pd.DataFrame, fields: Iterable[str], names: Mapping[str, str], source: str
) -> dict[str, str]:
    """{quantity: column of the table} for those of `fields` that the table has.

    names: columns that the user named; they must exist, and are nothing else then. Others are recognised by
    NAMES. InputError where one quantity could be two columns that differ, or one column two quantities.
    """
    present = [str(column) for column in table.columns]
    given = {LOSS if field == "loss" else field: column for field, column in names.items()}
    found: dict[str, str] = {}
    for field in fields:
        if field in given:
            if given[field] not in present:
                raise InputError(
                    f"{source}: {given[field]}: no such column for {called(field)}; "
                    f"there are {', '.join(present)}"
                )
            found[field] = given[field]
        elif (column := _recognise(table, present, field, source)) not in (None, *given.values()):
            found[field] = column
    taken: dict[str, str] = {}
    for field, column in found.items():
        if column in taken:
            pair = f"{called(taken[column])} and {called(field)}"
            raise InputError(f"{source}: {column}: one column cannot be two quantities, {pair}")
        taken[column] = field
    return found


def scale_of(field: str, column: str, cells: pd.Series, source: str) -> float:
    """What the cells of a column are multiplied by, read off its name: `params_M`, `tokens (B)`, `bpb`.

    InputError where the name gives a unit and the numbers are plainly counts already.
    """
    if field == LOSS and _key(column).lower() in PERPLEXITIES:
        raise InputError(
            f"{source}: {column}: a perplexity is no loss; its logarithm is: add a column loss = ln({column})"
        )
    if field == LOSS or _key(column).lower() in _WHOLE:
        return _WHOLE.get(_key(column).lower(), 1.0)
    if field not in COUNTS or _names_of(field, column):
        return 1.0
    unit = _split(column)[1]
    largest = pd.to_numeric(cells, errors="coerce").max()
    if unit > 1 and largest * unit > LARGEST[field]:
        raise InputError(
            f"{source}: {column}: {largest:.6g}: the name says units of {unit:.0e}, the number looks like a "
            "plain count; rename the column"
        )
    return unit


def _recognise(table: pd.DataFrame, present: list[str], field: str, source: str) -> str | None:
    """The one column that goes by a name of `field`, or None."""
    for tier in NAMES.get(field, ((field,),)):
        fits = [column for column in present if _in_tier(column, tier, field)]
        exact = [column for column in fits if column in tier]
        if len(fits) > 1 and len(exact) == 1:
            fits = exact
        if len(fits) > 1 and not all(_same(table[fits[0]], table[other]) for other in fits[1:]):
            raise InputError(
                f"{source}: {called(field)}: could be {' or '.join(fits)}; "
                f"say which with --columns {called(field)}={fits[0]}"
            )
        if fits:
            return fits[0]
    return None


def _in_tier(column: str, tier: tuple[str, ...], field: str) -> bool:
    """Whether a column goes by a name of the tier: whole, by its last part (`model.n_params`), or less a
    unit (`params_M`)."""
    if any(_matches(_key(name), tier) for name in (column, column.rpartition(".")[2])):
        return True
    return field in COUNTS and _split(column)[1] > 1 and _matches(_key(_split(column)[0]), tier)


def _names_of(field: str, column: str) -> bool:
    """Whether the whole name, without a unit, is one of the quantity's."""
    return any(_matches(_key(column), tier) for tier in NAMES.get(field, ()))


def _matches(key: str, tier: tuple[str, ...]) -> bool:
    """One letter by its case, longer names by any."""
    return key in tier if len(key) <= 1 else key.lower() in {name.lower() for name in tier if len(name) > 1}


def _key(column: str) -> str:
    """A name with one spelling: no W&B prefix, words joined by underscores."""
    for prefix in _PREFIXES:
        column = column.removeprefix(prefix)
    return re.sub(r"[^0-9A-Za-z]+", "_", column).strip("_")


def _split(column: str) -> tuple[str, float]:
    """A name and the unit at its end: (`params`, 1e6) of `params_M`, `params (M)`, `params_in_millions`."""
    match = _SUFFIX.match(column.strip())
    if not match:
        return column, 1.0
    name, *units = match.groups()
    unit = next(filter(None, units)).lower()
    size = float(unit) if unit.startswith("1e") else _UNITS.get(unit, 1.0)
    return (name, size) if size > 1 else (column, 1.0)


def _same(one: pd.Series, other: pd.Series) -> bool:
    return [_plain(cell) for cell in one] == [_plain(cell) for cell in other]


def _plain(cell: Any) -> Any:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return str(cell)


def choose_law(table: pd.DataFrame, names: Mapping[str, str], source: str) -> tuple[str, str]:
    """(name of the law, why) for a table whose user named none: Abnar's where sparsity varies."""
    fields = ("sparsity", "experts", "active")
    found = resolve(table, fields, {f: column for f, column in names.items() if f in fields}, source)
    letter = found.get("sparsity")
    if letter == "S" and "sparsity" not in names:
        largest = pd.to_numeric(table[letter], errors="coerce").max()
        if largest >= 1:  # steps, or samples
            return "chinchilla", f"the column S is no sparsity: it reaches {largest:.6g}"
    if "sparsity" in found or {"experts", "active"} <= set(found):
        read = [found["sparsity"]] if "sparsity" in found else [found["experts"], found["active"]]
        if any(table[column].map(_plain).nunique() > 1 for column in read):
            return "abnar", f"sparsity varies ({', '.join(read)})"
        return "chinchilla", "every run has the same sparsity, so nothing can be said of it"
    return "chinchilla", "no column says how sparse the runs are"


def known_fields(law: Law) -> tuple[str, ...]:
    """The quantities that a table may name for a law: its own, the loss, and what they derive from."""
    helpers = ("params_active", "compute_flops", "flops_per_token", "experts", "active", "sparsity", "seed")
    return tuple(dict.fromkeys((*law.columns, LOSS, *helpers)))
