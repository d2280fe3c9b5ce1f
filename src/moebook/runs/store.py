"""Where runs live: an append-only folder of one JSON file a run, `records/<text>/<key>.json`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.runs.items import check_items, items_path, read_items
from moebook.runs.record import KEY_DIGITS, Record
from moebook.runs.written import read_record

if TYPE_CHECKING:
    import numpy


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

    def add(self, record: Record, retry: bool = False, items: bytes | None = None) -> Record:
        """Store a record, and return the one that the store now holds under its key.

        `items` are the results by item that a scored record comes with; see `moebook.runs.items`.

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
            if record.scores:
                where = items_path(self.root, record)
                check_items(items or b"", record, where)
                write_atomic(where, items)  # before the record: a crash leaves a run that is made again
            write_atomic(path, record.to_json())
        return record

    def take_over(self, key: str) -> Record:
        """A done run that was made for a purpose of its own becomes one of the table.

        Its numbers, its key and the study that asked for it first stay. Raises InputError where there is no
        such run.
        """
        found = self.get(key)
        if found is None or not found.done:
            raise InputError(f"{self.records}: key: {key!r}: no run that is done")
        path = self.path(found)
        with _locked(path.parent):
            record = replace(self.read(path), purpose="")
            write_atomic(path, record.to_json())
        return record

    def items(self, record: Record) -> dict[str, numpy.ndarray]:
        """A scored run's results by item, by task; see `moebook.runs.items.read_items`."""
        return read_items(self.root, record)

    def read(self, path: Path | str) -> Record:
        """The record in one file of this store; raises InputError naming the file and what is wrong."""
        path = Path(path)
        try:
            if not S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                raise InputError(f"{path}: not a record: is no file")
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        record = read_record(content, str(path))
        self.check_place(record, path)
        return record

    @staticmethod
    def check_place(record: Record, path: Path) -> None:
        """Raise InputError naming the file unless it is where the record belongs."""
        if path.name != f"{record.key}.json":
            raise InputError(f"{path}: misnamed: the record's key is {record.key}")
        if path.parent.name != record.text:
            raise InputError(f"{path}: misplaced: the record's text is {record.text!r}")

    def check_name(self, path: Path) -> None:
        """Raise InputError naming the file unless it can be one of this store's records by its name."""
        if path.suffix == ".tmp":
            raise InputError(f"{path}: half-written: a write was cut off; it can be deleted")
        if path.suffix != ".json" or path.parent.parent != self.records:
            raise InputError(f"{path}: not a record: records are {self.records}/<text>/<key>.json")

    def get(self, key: str) -> Record | None:
        """The record with this key, or None; the start of a key is enough if only one run has it."""
        if not key.isalnum() or not self.records.is_dir():
            return None
        found = [path for path in self.records.glob(f"*/{key}.json") if path.is_file()]
        if not found:  # looking through all names is slow in a large store
            found = sorted(self.records.glob(f"*/{key}*.json")) if len(key) < KEY_DIGITS else []
        if len(found) > 1:
            raise InputError(f"{self.records}: key: {key!r}: {len(found)} runs begin with it")
        return self.read(found[0]) if found else None

    def load(self, text: str | None = None, problems: list[Problem] | None = None) -> list[Record]:
        """Every record (of one text), in order of file names.

        A file that is not a sound record raises InputError; if a list `problems` is given, it is entered
        there instead and the sound ones are returned. What another process is just writing is no record yet.
        """
        records = []
        for path in self._files():
            if text is not None and path.parent.name != text or problems is None and path.suffix == ".tmp":
                continue
            try:
                self.check_name(path)
                records.append(self.read(path))
            except InputError as error:
                if problems is None:
                    raise
                problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
        return records

    def check(self) -> list[Problem]:
        """Every file that is not a sound record of this store, or not its record's items, with the reason."""
        problems: list[Problem] = []
        self.check_items(self.load(problems=problems), problems)
        return problems

    def check_items(self, records: Iterable[Record], problems: list[Problem]) -> None:
        """Enter the files of items of these records that are missing, damaged or of another record."""
        for record in records:
            if record.scores:
                try:
                    read_items(self.root, record)
                except InputError as error:
                    path = items_path(self.root, record)
                    problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))

    def _files(self) -> Iterator[Path]:
        for folder, subfolders, names in os.walk(self.records):
            subfolders.sort()
            for name in sorted(names):
                yield Path(folder) / name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder alone among processes; the lock ends with the process, however that ends.

    Where the file system has no such locks, the claim on a trunk keeps others out, and files are replaced
    whole.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
