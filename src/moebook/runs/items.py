"""Results by item of a run's scores: one small .npz file beside its record, `items/<text>/<key>.npz`.

Arrays by task, in the order of the task's items (see `moebook.scores`): float16 margins of choices in nats,
right where above zero, or float32 nats of windows. The record holds the file's checksum.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebook.errors import InputError
from moebook.files import sha256_hex
from moebook.runs.record import Record

if TYPE_CHECKING:
    import numpy


def pack_items(arrays: Mapping[str, numpy.ndarray]) -> tuple[bytes, dict[str, Any]]:
    """A file of items, and what the record says of it: {sha256, bytes}."""
    import numpy

    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **arrays)
    content = buffer.getvalue()
    return content, {"sha256": sha256_hex(content), "bytes": len(content)}


def items_path(root: Path, record: Record) -> Path:
    """Where a record's items are, or would be, in the store at `root`."""
    return root / "items" / record.text / f"{record.key}.npz"


def check_items(content: bytes, record: Record, where: Path) -> None:
    """Raise InputError naming the file unless these are the record's items."""
    expected = record.scores.get("items", {}).get("sha256")
    found = sha256_hex(content)
    if found != expected:
        raise InputError(f"{where}: sha256: {found}: the record's items are {expected}")


def read_items(root: Path, record: Record) -> dict[str, numpy.ndarray]:
    """A run's results by item, by task. Raises InputError where there are none, or not the record's."""
    import numpy

    path = items_path(root, record)
    if not record.scores:
        raise InputError(f"{path}: run {record.key} was not scored")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    check_items(content, record, path)
    try:
        with numpy.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged: {error}") from error
