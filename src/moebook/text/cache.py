"""A prepared text on disk: two streams, memory-mapped, and a header that says what they must be.

`train.bin` and `heldout.bin` hold the streams; `header.json` their lengths and checksums, the manifest, and a
checksum of itself. The folder appears under its name only when it is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex, write_atomic
from moebook.text.prepare import document_starts

FORMAT = 1
STREAMS = ("train", "heldout")


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A corpus as bytes: a train and a held-out stream, in files of their own.

    In both, every document stands after one separator, byte 0, which occurs nowhere else.
    """

    name: str
    sha256: str
    """Checksum of the text: of the canonical JSON of the two streams' checksums."""
    vocab: int
    """Number of symbols: 256, one a byte."""
    train_T: np.ndarray
    """uint8 [bytes], memory-mapped, read-only."""
    heldout_T: np.ndarray
    """uint8 [bytes], memory-mapped, read-only."""
    heldout_starts: np.ndarray
    """int64 [documents]: the first byte of each held-out document, after its separator."""
    manifest: dict[str, Any]
    """What was read and left out: counts and bytes, by side and by origin."""
    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the files itself; the streams are never sent to it.
        return open_text, (self.folder, self.name)


def text_checksum(streams: dict[str, str]) -> str:
    """Checksum of a text from the checksums of its streams `train` and `heldout`."""
    return sha256_hex(canonical_json({side: streams[side] for side in STREAMS}))


def write_header(folder: Path, manifest: dict[str, Any]) -> None:
    """Finish a prepared folder: hash the streams and write the header."""
    streams = {}
    for side in STREAMS:
        path = folder / f"{side}.bin"
        state = path.stat()
        streams[side] = {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": file_sha256(path)}
    header = {
        "format": FORMAT,
        "sha256": text_checksum({side: streams[side]["sha256"] for side in STREAMS}),
        "streams": streams,
        "manifest": manifest,
    }
    content = canonical_json({"header": header, "checksum": sha256_hex(canonical_json(header))})
    write_atomic(folder / "header.json", content + "\n")


def open_text(folder: Path, name: str, check: bool = False) -> Text:
    """Memory-map a prepared folder.

    Lengths and the header's checksum are always compared; the streams' checksums where a file has been
    touched since it was written, or with `check`. Raises InputError naming the missing or damaged file.
    """
    path = folder / "header.json"
    try:
        content = json.loads(path.read_bytes())
        header, checksum = content["header"], content["checksum"]
    except FileNotFoundError:
        raise InputError(f"{path}: no prepared text here") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the header of a prepared text: {error!r}") from None
    if sha256_hex(canonical_json(header)) != checksum or header["format"] != FORMAT:
        raise InputError(f"{path}: checksum: {checksum}: the header has been changed or is of another format")
    streams_T = {}
    for side, expected in header["streams"].items():
        path = folder / f"{side}.bin"
        try:
            state = path.stat()
        except FileNotFoundError:
            raise InputError(f"{path}: missing from a prepared text") from None
        if state.st_size != expected["bytes"]:
            raise InputError(f"{path}: bytes: {state.st_size}: {expected['bytes']} expected")
        if check or state.st_mtime_ns != expected["mtime_ns"]:
            found = file_sha256(path)
            if found != expected["sha256"]:
                raise InputError(f"{path}: sha256: {found}: {expected['sha256']} expected")
        streams_T[side] = np.memmap(path, dtype=np.uint8, mode="r")
    return Text(
        name=name,
        sha256=header["sha256"],
        vocab=256,
        train_T=streams_T["train"],
        heldout_T=streams_T["heldout"],
        heldout_starts=document_starts(streams_T["heldout"]),
        manifest=header["manifest"],
        folder=folder,
    )


def check_text(text: Text) -> None:
    """Read the whole text again and compare its checksums; raises InputError naming a file that differs."""
    open_text(text.folder, text.name, check=True)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
