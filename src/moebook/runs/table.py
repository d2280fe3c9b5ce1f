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
_RECORD = ("key", "study", "purpose", "text", "status", "reason", "seed", "numerics")
_MODEL = ("experts", "active", "granularity", "width", "layers")
#: Columns of scores, each with one of its standard error: (name, task, part of its items or "" for all).
_SCORES = (
    ("blimp", "blimp", ""), ("wikitext2_bits", "wikitext2", ""), ("other_bits", "other", ""),
    ("words", "words", ""), ("words_seen", "words", "seen"), ("words_unseen", "words", "unseen"),
    ("recall", "recall", ""), ("recall_0", "recall", "0"), ("recall_1", "recall", "1"),
    ("recall_4", "recall", "4"), ("recall_8", "recall", "8"),
)  # fmt: skip
SCORE_COLUMNS = tuple(column for name, *_ in _SCORES for column in (name, f"{name}_stderr"))
COLUMNS = (
    "key", "study", "purpose", "text", "status", "reason", "seed",
    "params", "params_active", "params_nonembedding", "params_active_nonembedding",
    "tokens", "compute_flops", "flops_per_token", "sparsity",
    "experts", "active", "shared_experts", "granularity", "width", "layers",
    "loss_nats", "loss_stderr_nats", "bits_per_byte",
    "learning_rate", "batch_tokens", "wall_seconds", "tokens_per_second", "device", "numerics",
    "text_sha256", *SCORE_COLUMNS,
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
            "text_sha256": record.config["text"]["sha256"],
        }
    )
    values |= _scores(record)
    return {name: values[name] for name in COLUMNS}


def _scores(record: Record) -> dict[str, Any]:
    """The columns of scores; None where a task was not asked for, not measured, or failed."""
    tasks, found = record.scores.get("tasks", {}), {}
    for name, task, part in _SCORES:
        entry = tasks.get(task, {})
        entry = entry.get("parts", {}).get(part, {}) if part else entry
        found |= {name: entry.get("score"), f"{name}_stderr": entry.get("stderr")}
    return found


def load_table(
    path: Path | str, text: str | None = None, problems: list[Problem] | None = None
) -> pandas.DataFrame:
    """The runs under `path` (a folder that holds `records`) as a pandas DataFrame with COLUMNS.

    Runs that diverged or failed are rows too, with an empty loss. The same records always give the same
    table. Raises InputError naming the first file that is not a sound record, unless a list `problems` is
    given to take them.
    """
    from moebook.runs.index import read_rows

    return frame(read_rows(Store(path), text, problems))


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Rows of many records, ordered by text, compute, sparsity, size, seed and key."""
    return sorted(map(row, records), key=order)


def frame(listed: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Rows as a pandas DataFrame with COLUMNS, whole numbers whole and an empty loss NaN."""
    import pandas

    floats = dict.fromkeys((*_FLOATS, *SCORE_COLUMNS), float)
    return pandas.DataFrame(listed, columns=list(COLUMNS)).astype(floats)


def order(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What rows are sorted by; nothing measured comes first."""
    numbers = (values[name] for name in ("compute_flops", "sparsity", "params", "seed"))
    return values["text"], *((number is None, number or 0) for number in numbers), values["key"]
