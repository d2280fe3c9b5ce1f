"""Files written whole or not at all, canonical JSON, configurations as plain values, and hashes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import Any

from moebook.errors import InputError


def sha256_hex(content: bytes | str) -> str:
    """Hex sha256 of bytes, or of the UTF-8 encoding of a string."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with one spelling for each value: sorted keys, no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def later(default: Any) -> Any:
    """A dataclass's field that came after the first runs were stored; see `stored`."""
    return field(default=default, metadata={"later": True})


def stored(config: Any) -> dict[str, Any]:
    """A configuration (a dataclass, nested or not) as plain values, as it is stored and hashed.

    A field made by `later` is left out while it has its default: what was stored before the field was
    there means the same, and keeps its hash.
    """
    values = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if not (f.metadata.get("later") and getattr(config, f.name) == f.default)
    }
    return {name: stored(value) if is_dataclass(value) else value for name, value in values.items()}


def write_atomic(path: Path | str, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises InputError naming the path where the system cannot write (a full disk, a read-only folder).
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_writable(folder: Path | str) -> None:
    """Raise InputError naming the path where a folder cannot be made or written; makes nothing.

    For long work, before it begins: what it will have to say must have a place.
    """
    for path in (Path(folder).absolute(), *Path(folder).absolute().parents):
        if path.exists():
            if not path.is_dir():
                raise InputError(f"{folder}: cannot be written: {path} is not a folder")
            if not os.access(path, os.W_OK | os.X_OK):
                raise InputError(f"{folder}: cannot be written: no permission in {path}")
            return


def cache_folder() -> Path:
    """Where prepared texts and other things that can be made again are kept.

    `MOEBOOK_CACHE` if set, else `moebook` under the user's cache folder.
    """
    if named := os.environ.get("MOEBOOK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moebook"
