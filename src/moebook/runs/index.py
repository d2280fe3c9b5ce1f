"""The rows of a large store, kept in one file so that they need not be parsed again.

`<runs>/.cache/rows.json` holds each sound record's row of the table, with the size, times and inode of the
record's file and the checksum of its bytes. It can be deleted at any moment, is not for git, and is never
believed over a record: a row is taken from it only while its file looks untouched, or has the same bytes.
Where it cannot be written, everything works without it.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from moebook.errors import InputError
from moebook.files import sha256_hex, write_atomic
from moebook.runs.store import Problem, Store
from moebook.runs.table import COLUMNS, order, row
from moebook.runs.written import read_record

#: A file that was changed so short a time before it was read may be changed again within its clock's tick.
SETTLED_NS = 2_000_000_000
#: The index is written anew once more than this share of it is new; a store of few records has none.
REWRITE_SHARE, LEAST = 0.02, 1000
_STAT = ("size", "modified_ns", "changed_ns", "inode")

Stat = tuple[int, int, int, int]


@dataclass
class Entry:
    """A record's file as it was when it was last read, and the record's row.

    stat: size, times of modification and change, inode. sha256: of its bytes. items_sha256: of the run's
    results by item, "" where it was not scored.
    """

    stat: Stat
    sha256: str
    items_sha256: str
    row: dict[str, Any]


def read_rows(
    store: Store,
    text: str | None = None,
    problems: list[Problem] | None = None,
    every_byte: bool = False,
) -> list[dict[str, Any]]:
    """The rows of all records (of one text), as `rows` makes and orders them.

    A file that is not a sound record raises InputError naming it; if a list `problems` is given, it is
    entered there instead.

    Args:
        every_byte: read each file, and each file of results by item, even where it looks untouched.
    """
    path = store.root / ".cache" / "rows.json"
    known = _load(path)
    found: dict[str, Entry] = {}
    wanted: list[dict[str, Any]] = []
    fresh = 0
    for name, stat in _scan(store.records):
        entry = known.get(name)
        if text is not None and not name.startswith(f"{text}/"):
            if entry is not None:
                found[name] = entry
            continue
        if problems is None and name.endswith(".tmp"):
            continue  # another process is just writing it
        if isinstance(stat, InputError):
            _enter(problems, store.records / name, stat)
            continue
        if entry is None or entry.stat != stat or every_byte:
            try:
                entry = _read(store, name, stat, before := entry)
            except InputError as error:
                _enter(problems, store.records / name, error)
                continue
            fresh += before is None or before.stat != entry.stat
            if every_byte and entry.items_sha256:
                _check_items(store, entry, problems)
        found[name] = entry
        wanted.append(entry.row)
    stale = fresh + len(known.keys() - found.keys())
    if stale > REWRITE_SHARE * len(found) and len(found) >= LEAST:
        _save(path, found)
    return sorted(wanted, key=order)


def _scan(folder: Path | str, above: str = "") -> Iterator[tuple[str, Stat | InputError]]:
    """Every file under a folder, by its path within, in order; with what tells whether it was touched, or
    with why it is none. Links are followed, folders within a text's folder are not entered."""
    try:
        listed = sorted(os.scandir(folder), key=lambda each: each.name)
    except FileNotFoundError:
        return
    for each in listed:
        try:
            found = each.stat()
        except FileNotFoundError:
            if each.is_symlink():
                yield above + each.name, InputError(f"{each.path}: a link to a file that is not there")
            continue  # a writer's, renamed meanwhile
        except OSError as error:
            yield above + each.name, InputError(f"{each.path}: cannot be read: {error.strerror}")
            continue
        if S_ISDIR(found.st_mode) and not above:
            yield from _scan(each.path, f"{each.name}/")
        elif S_ISREG(found.st_mode):
            yield above + each.name, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        else:
            yield above + each.name, InputError(f"{each.path}: not a record: is no file")


def _read(store: Store, name: str, stat: Stat, before: Entry | None) -> Entry:
    """A file's entry, from its bytes; parsed only if they are not those that the entry before is of."""
    now, file = time.time_ns(), store.records / name
    store.check_name(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    if now - max(stat[1], stat[2]) < SETTLED_NS:
        stat = (-1, *stat[1:])
    digest = sha256_hex(content)
    if before is not None and before.sha256 == digest:
        return Entry(stat, digest, before.items_sha256, before.row)
    record = read_record(content, str(file))
    store.check_place(record, file)
    return Entry(stat, digest, record.scores.get("items", {}).get("sha256", ""), row(record))


def _check_items(store: Store, entry: Entry, problems: list[Problem] | None) -> None:
    """See that the file of items of a row's record is whole."""
    path = store.root / "items" / entry.row["text"] / f"{entry.row['key']}.npz"
    try:
        content = path.read_bytes()
    except OSError as error:
        _enter(problems, path, InputError(f"{path}: cannot be read: {error.strerror}"))
        return
    if (found := sha256_hex(content)) != entry.items_sha256:
        reason = f"{path}: sha256: {found}: the record's items are {entry.items_sha256}"
        _enter(problems, path, InputError(reason))


def _enter(problems: list[Problem] | None, path: Path, error: InputError) -> None:
    if problems is None:
        raise error
    problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))


@functools.cache
def _version() -> str:
    """A hash of the code that decides what is sound and what a row holds."""
    here = Path(__file__).parent
    names = ("index.py", "items.py", "record.py", "sound.py", "table.py", "written.py")
    return sha256_hex("".join(sha256_hex((here / name).read_bytes()) for name in names))


def _load(path: Path) -> dict[str, Entry]:
    """The entries kept at `path`; none where there is no such file, or one of other code or a broken one."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if digest.decode() != sha256_hex(content):
            return {}
        kept = json.loads(content)
        if kept["version"] != _version():
            return {}
        size, columns = kept["size"], kept["columns"]
        columns = {n: c if isinstance(c, list) else itertools.repeat(c, size) for n, c in columns.items()}
        stats = zip(*(columns[name] for name in _STAT), strict=True)
        listed = zip(*(columns[f"row.{name}"] for name in COLUMNS), strict=True)
        rows = (dict(zip(COLUMNS, values, strict=True)) for values in listed)
        parts = (columns["path"], stats, columns["sha256"], columns["items_sha256"], rows)
        return {name: Entry(*entry) for name, *entry in zip(*parts, strict=True)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(path: Path, entries: dict[str, Entry]) -> None:
    """Write the entries by column; a column of one value is that value."""
    listed = list(entries.values())
    columns: dict[str, Any] = {"path": list(entries)}
    columns |= {name: [entry.stat[i] for entry in listed] for i, name in enumerate(_STAT)}
    columns |= {name: [getattr(entry, name) for entry in listed] for name in ("sha256", "items_sha256")}
    columns |= {f"row.{name}": [entry.row[name] for entry in listed] for name in COLUMNS}
    columns = {
        name: values if isinstance(values[0], list) or values.count(values[0]) < len(values) else values[0]
        for name, values in columns.items()
    }
    try:
        kept = {"version": _version(), "size": len(listed), "columns": columns}
        content = json.dumps(kept, separators=(",", ":"))
        write_atomic(path, f"{sha256_hex(content)}\n{content}")
        write_atomic(path.with_name(".gitignore"), "*\n")
    except InputError:
        pass  # a folder that is only for reading, or a full disk: slower, and as right
