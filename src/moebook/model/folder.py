"""Folders of a model's files: one clear line where something is wrong, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moebook.errors import InputError
from moebook.files import check_writable, sha256_hex, write_atomic

#: Checksums of the other files in a folder that we wrote: what still matches them is ours to replace.
MANIFEST = "moebook.json"


def pretty_json(values: Mapping[str, Any]) -> str:
    """Indented JSON, ending in a newline; NaN and infinity are refused."""
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises InputError naming the file."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    try:
        values = json.loads(path.read_bytes(), parse_constant=refuse)
    except FileNotFoundError:
        raise InputError(f"{path}: missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {_line(error)}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: is {type(values).__name__}, not a mapping")
    return values


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError naming the file."""
    if not path.is_file():
        raise InputError(f"{path}: missing")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged, or not safetensors: {_line(error)}") from error


def check_replaceable(folder: Path | str, force: bool, source: Path | str | None = None) -> None:
    """Raise InputError unless a folder can be made here; what it holds may go if we wrote it, or if `force`.

    A folder around the current one, or around `source`, is never replaced.
    """
    folder, target = Path(folder), Path(folder).resolve()
    check_writable(target)
    check_writable(target.parent)
    if not target.exists():
        return
    for kept in (Path.cwd(), *([Path(source).resolve()] if source else [])):
        if kept.is_relative_to(target):
            raise InputError(f"{folder}: cannot be replaced: it holds {kept}")
    if any(target.iterdir()) and not force and not _unchanged(target):
        raise InputError(f"{folder}: holds other files, or changed ones: choose another folder, or --force")


def write_folder(folder: Path | str, files: Mapping[str, str | bytes], force: bool = False) -> None:
    """Write a folder of files and their checksums, and put it in its place whole, or leave all as it was.

    Raises InputError where `check_replaceable` does, or where the system cannot write.
    """
    check_replaceable(folder, force)
    target = Path(folder).resolve()
    content = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    manifest = {"format": 1, "sha256": {name: sha256_hex(data) for name, data in content.items()}}
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
        for name, data in content.items():
            write_atomic(temporary / name, data)
        write_atomic(temporary / MANIFEST, pretty_json(manifest))
        temporary.chmod(0o755)
        _put(temporary, target)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {_line(error)}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, target: Path) -> None:
    """Rename a folder to its place; one that is there makes way, and comes back if that fails."""
    if not target.exists():
        os.rename(temporary, target)
        return
    old = temporary.with_name(f"{temporary.name}.old.tmp")
    os.rename(target, old)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old)


def _unchanged(folder: Path) -> bool:
    """Whether a folder is as `write_folder` left it."""
    try:
        noted = read_json(folder / MANIFEST).get("sha256")
    except InputError:
        return False
    held = {path.name: path for path in folder.iterdir() if path.name != MANIFEST}
    if not isinstance(noted, dict) or set(noted) != set(held):
        return False
    return all(path.is_file() and sha256_hex(path.read_bytes()) == noted[name] for name, path in held.items())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
