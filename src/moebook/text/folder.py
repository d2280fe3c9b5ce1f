"""Text from a folder: `*.jsonl`, `*.jsonl.xz`, `*.jsonl.zst` with a document a row, `*.txt` with one a file.

A row is an object with `text`, and may carry `source`, a string that is not used, and `split`: `train`,
`val`, `valid` or `validation` (held out), `test` (left out of both). Other fields are not read.
"""

from __future__ import annotations

import codecs
import io
import json
import lzma
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from moebook.errors import InputError
from moebook.text.documents import BY_HASH, SPLITS, Document
from moebook.text.prepare import PIECE_BYTES
from moebook.text.progress import Progress
from moebook.text.spec import TextSpec

SUFFIXES = (".jsonl", ".jsonl.xz", ".jsonl.zst", ".txt")
COMPRESSED_BYTES = 1 << 16


class FolderSource:
    """The files of a folder, below it at any depth; hidden ones are not read."""

    def __init__(self, spec: TextSpec, folder: Path | None) -> None:
        if folder is None:
            raise InputError(
                f"text {spec.name}: folder: None: a text of source `folder` needs the folder to read"
            )
        if not folder.is_dir():
            raise InputError(f"{folder}: text {spec.name}: no such folder")
        self.sha256 = ""
        self.folder = folder
        self.files = _selected(folder, spec.files)
        states = {name: path.stat() for name, path in self.files.items()}
        self.total = sum(state.st_size for state in states.values())
        self.fingerprint: dict[str, Any] = {
            "folder": str(folder.resolve()),
            "files": {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()},
        }

    def documents(self, progress: Progress) -> Iterator[Document]:
        """All documents, file by file, a row or a piece in memory at a time."""
        before = 0
        for name, path in self.files.items():
            try:
                with open(path, "rb") as raw:
                    if name.endswith(".txt"):
                        yield Document(_utf8_pieces(raw, path), origin=name)
                    else:
                        for document in _rows(_decompressed(raw, path), path, name):
                            progress("reading", before + raw.tell(), self.total)
                            yield document
                    before += raw.tell()
            except (lzma.LZMAError, EOFError) as error:
                raise InputError(f"{path}: damaged: {error}") from error
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
            progress("reading", before, self.total)


def _selected(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """Files by their names below the folder, sorted."""
    supported = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.name.endswith(SUFFIXES)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not supported:
        raise InputError(f"{folder}: files: none: no file ends in {', '.join(SUFFIXES)}")
    chosen = set(() if patterns else supported)
    for pattern in patterns:
        matching = {name for name in supported if _stem(name) == pattern or fnmatchcase(name, pattern)}
        if not matching:
            raise InputError(
                f"{folder}: files: {pattern!r}: matches none of {', '.join(sorted(supported)[:20])}"
            )
        chosen |= matching
    return {name: supported[name] for name in sorted(chosen)}


def _stem(name: str) -> str:
    return next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))


def _decompressed(raw: BinaryIO, path: Path) -> BinaryIO:
    if path.name.endswith(".xz"):
        return io.BufferedReader(lzma.LZMAFile(raw), PIECE_BYTES)
    if path.name.endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise InputError(
                f"{path}: reading .zst needs the package zstandard: pip install -e '.[huggingface]' in the "
                "checkout"
            ) from None
        return io.BufferedReader(_ZstandardFile(zstandard, raw), PIECE_BYTES)
    return raw


class _ZstandardFile(io.RawIOBase):
    """A Zstandard file, of any number of frames, that says so when it is damaged or ends early."""

    def __init__(self, zstandard: Any, raw: BinaryIO) -> None:
        self._zstandard, self._raw = zstandard, raw
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            between = self._frame is None or self._frame.eof
            compressed = self._frame.unused_data if between and self._frame is not None else b""
            compressed = compressed or self._raw.read(COMPRESSED_BYTES)
            if not compressed:
                if between:
                    return 0
                raise EOFError("ends within a frame")
            if between:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._ready = self._frame.decompress(compressed)
            except self._zstandard.ZstdError as error:
                raise EOFError(str(error)) from error
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _rows(lines: BinaryIO, path: Path, name: str) -> Iterator[Document]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield document_of_row(_parsed(line, f"{path}:{number}"), f"{path}:{number}", name)


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: row: not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: row: not JSON: {error}") from None


def document_of_row(row: Any, where: str, origin: str, column: str = "text") -> Document:
    """The document in a row; InputError naming the row and the field where there is none."""
    if not isinstance(row, dict):
        raise InputError(f"{where}: row: {_short(row)}: must be an object with {column!r}")
    if not isinstance(row.get(column), str):
        what = f"{_short(row[column])}: must be a string" if column in row else "missing"
        raise InputError(f"{where}: {column}: {what}")
    source, split = row.get("source"), row.get("split")
    if source is not None and not isinstance(source, str):
        raise InputError(f"{where}: source: {_short(source)}: must be a string")
    if split is not None and (not isinstance(split, str) or split not in SPLITS):
        raise InputError(f"{where}: split: {_short(split)}: must be one of {', '.join(SPLITS)}")
    try:
        content = row[column].encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: {column}: not text: half a surrogate pair at character {error.start}"
        ) from None
    return Document((content,), split=SPLITS[split] if split else BY_HASH, origin=origin)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _utf8_pieces(raw: BinaryIO, path: Path) -> Iterator[bytes]:
    """A file in pieces, refused where it is not UTF-8."""
    decoder, before = codecs.getincrementaldecoder("utf-8")(), 0
    while True:
        piece = raw.read(PIECE_BYTES)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: text: not UTF-8: {error.reason} near byte {before + error.start}"
            ) from None
        if not piece:
            return
        before += len(piece)
        yield piece
