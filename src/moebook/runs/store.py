"""Where runs live: an append-only folder of one JSON file a run, `records/<text>/<key>.json`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.runs.record import Record


@dataclass(frozen=True)
class Problem:
    """A file among the records that is not a sound record, and why."""

    path: Path
    reason: str


class Store:
    """Records under `root/records`. A record that is there is never replaced, but for an explicit retry."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.records = self.root / "records"

    def path(self, record: Record) -> Path:
        """The file that holds, or would hold, this record."""
        return self.records / record.text / f"{record.key}.json"

    def add(self, record: Record, retry: bool = False) -> Record:
        """Store a record, and return the one that the store now holds under its key.

        A run that is done stays as it is: adding it again changes nothing. A run that failed or diverged is
        replaced only if `retry`, and then kept in the new record's history; without `retry`, or if the file
        in its place is damaged, raises InputError naming the file.
        """
        path = self.path(record)
        with _locked(path.parent):
            if path.exists():
                stored = self.read(path)
                if stored.done or stored == record:
                    return stored
                if not retry:
                    raise InputError(f"{path}: status: {stored.status}: stays unless it is retried")
                attempt = {name: value for name, value in stored.to_dict().items() if name != "history"}
                record = replace(record, history=(*stored.history, attempt))
            write_atomic(path, record.to_json())
        return record

    def read(self, path: Path | str) -> Record:
        """The record in one file of this store; raises InputError naming the file and what is wrong."""
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        record = Record.from_json(content, str(path))
        if path.name != f"{record.key}.json":
            raise InputError(f"{path}: misnamed: the record's key is {record.key}")
        if path.parent.name != record.text:
            raise InputError(f"{path}: misplaced: the record's text is {record.text!r}")
        return record

    def get(self, key: str) -> Record | None:
        """The record with this key, or None; the start of a key is enough if only one run has it."""
        found = sorted(self.records.glob(f"*/{key}*.json")) if key.isalnum() else []
        if len(found) > 1:
            raise InputError(f"{self.records}: key: {key!r}: {len(found)} runs begin with it")
        return self.read(found[0]) if found else None

    def load(self, text: str | None = None, problems: list[Problem] | None = None) -> list[Record]:
        """Every record (of one text), in order of file names.

        A file that is not a sound record raises InputError; if a list `problems` is given, it is entered
        there instead and the sound ones are returned.
        """
        records = []
        for path in self._files():
            if text is not None and path.parent.name != text:
                continue
            try:
                if path.suffix == ".tmp":
                    raise InputError(f"{path}: half-written: a write was cut off; it can be deleted")
                if path.suffix != ".json" or path.parent.parent != self.records:
                    raise InputError(f"{path}: not a record: records are {self.records}/<text>/<key>.json")
                records.append(self.read(path))
            except InputError as error:
                if problems is None:
                    raise
                problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
        return records

    def check(self) -> list[Problem]:
        """Every file under `records` that is not a sound record of this store, with the reason."""
        problems: list[Problem] = []
        self.load(problems=problems)
        return problems

    def _files(self) -> Iterator[Path]:
        for folder, subfolders, names in os.walk(self.records):
            subfolders.sort()
            for name in sorted(names):
                yield Path(folder) / name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder alone among processes; the lock ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
