"""From documents to a train and a held-out stream: order, split, duplicates, separators.

A stream is every document with one separator, byte 0, before it; bytes 0 inside of documents are taken out.
Documents stand in the order of a hash, so that neither file names, nor the file system, nor the order of
reading leave a trace. They are first spooled to disk, then copied in order: memory holds 45 bytes a document.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from moebook.errors import InputError
from moebook.text.documents import BY_HASH, HELDOUT, TEST, TRAIN, Document
from moebook.text.progress import Progress
from moebook.text.spec import TextSpec

SEPARATOR = b"\0"
PIECE_BYTES = 1 << 20
MOST_ORIGINS = 200
OTHER = "(other)"

_ROW = struct.Struct("<Q16sqqBI")
_ROW_TYPE = np.dtype(
    [
        ("order", "<u8"),
        ("digest", "S16"),
        ("start", "<i8"),
        ("bytes", "<i8"),
        ("split", "u1"),
        ("origin", "<u4"),
    ]
)


def prepare(
    documents: Iterable[Document], spec: TextSpec, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write `train.bin` and `heldout.bin` into the folder; the manifest of what went where.

    Raises InputError where nothing is left to train on or to hold out, OSError where writing fails.
    """
    spool = folder / "spool"
    table, origins, counts = _spool(documents, spool)
    raw_T = np.memmap(spool, dtype=np.uint8, mode="r") if spool.stat().st_size else np.empty(0, np.uint8)
    table = table[np.argsort(table["order"], kind="stable")]
    table = _decide_sides(table, spec)
    heldout, train = _drop_duplicates(table, raw_T, spec.heldout_document_bytes, counts)
    if spec.train_bytes:
        fits = int(np.searchsorted(np.cumsum(train["bytes"] + 1), spec.train_bytes, side="right"))
        counts["beyond_train_bytes"] = len(train) - fits
        train = train[:fits]
    for side, rows in (("train", train), ("heldout", heldout)):
        if not len(rows):
            raise InputError(
                f"text {spec.name}: {side}: 0 documents: of {len(table)} usable ones none is on this side; "
                "more documents, rows with `split`, another `heldout_share` or `train_bytes` are needed"
            )
    manifest: dict[str, Any] = {
        "name": spec.name,
        "text": spec.preparation(),
        "left_out": dict(sorted(counts.items())),
        "origins": {origin: {} for origin in sorted(origins)},
    }
    total = int(train["bytes"].sum() + heldout["bytes"].sum())
    done = 0
    for side, rows, limit in (("train", train, 0), ("heldout", heldout, spec.heldout_document_bytes)):
        written = 0
        of_origin = np.zeros((len(origins), 2), dtype=np.int64)  # documents, bytes
        with open(folder / f"{side}.bin", "wb") as out:
            for row in rows:
                document_T = raw_T[row["start"] : row["start"] + row["bytes"]]
                end = cut(document_T, limit)
                out.write(SEPARATOR)
                for start in range(0, end, PIECE_BYTES):
                    out.write(document_T[start : min(end, start + PIECE_BYTES)].data)
                written += end + 1
                of_origin[row["origin"]] += (1, end)
                done += int(row["bytes"])
                progress("writing", done, total)
            out.flush()
            os.fsync(out.fileno())
        manifest[side] = {"documents": len(rows), "bytes": written}
        for origin, (number, size) in zip(origins, of_origin.tolist(), strict=True):
            manifest["origins"][origin][side] = {"documents": number, "bytes": size}
    del raw_T
    spool.unlink()
    return manifest


def _spool(documents: Iterable[Document], spool: Path) -> tuple[np.ndarray, list[str], Counter[str]]:
    """All documents end to end in one file, and where each lies."""
    rows = bytearray()
    origins: dict[str, int] = {}
    counts: Counter[str] = Counter()
    position = 0
    with open(spool, "wb") as out:
        for document in documents:
            if document.split == TEST:
                counts["test"] += 1
                continue
            digest, length = hashlib.sha256(), 0
            for piece in document.pieces:
                if SEPARATOR in piece:
                    counts["separator_bytes"] += piece.count(SEPARATOR)
                    piece = piece.replace(SEPARATOR, b"")
                digest.update(piece)
                length += out.write(piece)
            if not length:
                counts["empty"] += 1
                continue
            content = digest.digest()
            order = hashlib.sha256(document.identity.encode()).digest() if document.identity else content
            label = document.origin if document.origin in origins or len(origins) < MOST_ORIGINS else OTHER
            origin = origins.setdefault(label, len(origins))
            rows += _ROW.pack(
                int.from_bytes(order[:8], "big"), content[:16], position, length, document.split, origin
            )
            position += length
    return np.frombuffer(rows, dtype=_ROW_TYPE), list(origins), counts


def _decide_sides(table: np.ndarray, spec: TextSpec) -> np.ndarray:
    """Give documents without a side one: held out where the hash, as a share of its range, is small."""
    table = table.copy()
    open_rows = np.flatnonzero(table["split"] == BY_HASH)
    small = table["order"][open_rows] < np.uint64(min(2**64 - 1, int(spec.heldout_share * 2**64)))
    table["split"][open_rows] = np.where(small, HELDOUT, TRAIN)
    if len(open_rows) > 1 and not (table["split"] == HELDOUT).any():
        table["split"][open_rows[0]] = HELDOUT  # a few large files: the one with the smallest hash
    return table


def _drop_duplicates(
    table: np.ndarray, raw_T: np.ndarray, limit: int, counts: Counter[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out and train rows, each document once, and none on both sides.

    Two documents count as equal across the split where their first `limit` bytes are: these are held out.
    """
    heldout, train = table[table["split"] == HELDOUT], table[table["split"] == TRAIN]
    heads = np.array([_head(row, raw_T, limit) for row in heldout], dtype="S16")
    kept = np.sort(np.unique(heads, return_index=True)[1])
    counts["duplicate_heldout"] += len(heldout) - len(kept)
    heldout, heads = heldout[kept], heads[kept]
    kept = np.sort(np.unique(train["digest"], return_index=True)[1])
    counts["duplicate_train"] += len(train) - len(kept)
    train = train[kept]
    train_heads = train["digest"].copy()
    for number in np.flatnonzero(train["bytes"] > limit) if limit else ():
        train_heads[number] = _head(train[number], raw_T, limit)
    leaked = np.isin(train_heads, heads)
    counts["train_equal_to_heldout"] += int(leaked.sum())
    return heldout, train[~leaked]


def _head(row: np.void, raw_T: np.ndarray, limit: int) -> bytes:
    document_T = raw_T[row["start"] : row["start"] + row["bytes"]]
    return _digest(document_T[: cut(document_T, limit)])


def _digest(document_T: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(document_T)).digest()[:16]


def cut(document_T: np.ndarray, limit: int) -> int:
    """Where a document is cut for at most `limit` bytes (0 = no limit), not inside a UTF-8 character."""
    if not limit or len(document_T) <= limit:
        return len(document_T)
    end = limit
    while end > max(1, limit - 3) and (int(document_T[end]) & 0xC0) == 0x80:
        end -= 1
    return end


def document_starts(stream_T: np.ndarray) -> np.ndarray:
    """Where the documents of a stream start, each one after its separator: int64 [documents]."""
    pieces = [
        np.flatnonzero(np.asarray(stream_T[start : start + PIECE_BYTES]) == 0) + start + 1
        for start in range(0, len(stream_T), PIECE_BYTES)
    ]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)


def leaked_documents(train_T: np.ndarray, heldout_T: np.ndarray, limit: int) -> np.ndarray:
    """Starts of the train documents that stand in the held-out stream too: int64, empty where none does.

    Reads both finished streams, and compares the first `limit` bytes of documents (0 = all of them).
    """
    heads = {_digest(document_T) for _, document_T in _documents(heldout_T)}
    leaks = [
        start
        for start, document_T in _documents(train_T)
        if _digest(document_T[: cut(document_T, limit)]) in heads
    ]
    return np.array(leaks, dtype=np.int64)


def _documents(stream_T: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    starts = document_starts(stream_T)
    for start, end in zip(starts, np.append(starts[1:] - 1, len(stream_T)), strict=True):
        yield int(start), stream_T[start:end]
