"""The run table: one flat row a run. `runs/README.md` says what each column means and its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebook.runs.record import Record
from moebook.runs.store import Problem, Store

if TYPE_CHECKING:
    import pandas

_MEASURES = (
    "params", "params_active", "params_nonembedding", "params_active_nonembedding", "tokens", "compute_flops",
    "flops_per_token", "sparsity", "loss_nats", "loss_stderr_nats", "bits_per_byte",
)  # fmt: skip
_FLOATS = (
    "compute_flops", "flops_per_token", "sparsity", "loss_nats", "loss_stderr_nats", "bits_per_byte",
    "learning_rate", "wall_seconds", "tokens_per_second",
)  # fmt: skip
_RECORD = ("key", "study", "text", "status", "reason", "seed", "numerics")
_MODEL = ("experts", "active", "granularity", "width", "layers")
COLUMNS = (
    "key", "study", "text", "status", "reason", "seed",
    "params", "params_active", "params_nonembedding", "params_active_nonembedding",
    "tokens", "compute_flops", "flops_per_token", "sparsity",
    "experts", "active", "shared_experts", "granularity", "width", "layers",
    "loss_nats", "loss_stderr_nats", "bits_per_byte",
    "learning_rate", "batch_tokens", "wall_seconds", "tokens_per_second", "device", "numerics",
)  # fmt: skip


def row(record: Record) -> dict[str, Any]:
    """A record as one row of the table: plain values under COLUMNS, None where nothing was measured."""
    batch = record.recipe.get("batch_sequences")
    values = (
        {name: getattr(record, name) for name in _RECORD}
        | {name: record.measures.get(name) for name in _MEASURES}
        | {name: record.model[name] for name in _MODEL}
        | {
            "shared_experts": record.model.get("shared_experts", 0),
            "tokens": record.tokens,
            "learning_rate": record.recipe.get("learning_rate"),
            "batch_tokens": None if batch is None else batch * record.model["context"],
            "wall_seconds": record.cost.get("wall_seconds"),
            "tokens_per_second": record.cost.get("tokens_per_second"),
            "device": record.environment.get("device"),
        }
    )
    return {name: values[name] for name in COLUMNS}


def load_table(
    path: Path | str, text: str | None = None, problems: list[Problem] | None = None
) -> pandas.DataFrame:
    """The runs under `path` (a folder that holds `records`) as a pandas DataFrame with COLUMNS.

    Runs that diverged or failed are rows too, with an empty loss. The same records always give the same
    table. Raises InputError naming the first file that is not a sound record, unless a list `problems` is
    given to take them.
    """
    return frame(rows(Store(path).load(text, problems)))


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Rows of many records, ordered by text, compute, sparsity, size, seed and key."""
    return sorted(map(row, records), key=_order)


def frame(listed: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Rows as a pandas DataFrame with COLUMNS, whole numbers whole and an empty loss NaN."""
    import pandas

    return pandas.DataFrame(listed, columns=list(COLUMNS)).astype(dict.fromkeys(_FLOATS, float))


def _order(values: dict[str, Any]) -> tuple[Any, ...]:
    numbers = (values[name] for name in ("compute_flops", "sparsity", "params", "seed"))
    return values["text"], *((number is None, number or 0) for number in numbers), values["key"]
