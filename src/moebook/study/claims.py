"""Who trains a trunk: a claim in the trunk's folder of work, seen by every process that shares the disk.

Several drivers, on one machine or on many, may share a store. Before a worker trains a trunk it makes the
file `claim-N`, which the file system lets one process alone do (O_EXCL), and writes to it every few seconds:
who it is and how far it has come. A claim is free once it was given back, once its process is seen to be
gone, or once nobody has written to it for long; then the next number can be made. The highest number
counts. A process that was only asleep finds the higher one as it awakes, before it writes anything else.

Assumed: one file system that all of them see, local or shared (NFS, Lustre, EFS), whose O_EXCL is exclusive.
Clocks need not agree: times are those that the file system itself puts on files.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moebook.errors import InputError

#: Seconds between two signs of life, and without one until a claim is free.
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_BYTES = 1024  # of a claim's file, filled up with spaces: one write, never a shorter one over a longer


class Lost(Exception):
    """Another process has the trunk now: this one must not write to its folder any more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a trunk, and how far it has come. `age`: seconds since its last sign of life."""

    trunk: str
    number: int
    live: bool
    given_back: bool
    age: float
    values: dict[str, Any] = field(default_factory=dict)


def holder(folder: Path, stale_seconds: float = STALE_SECONDS) -> Holder | None:
    """Who has, or last had, the claim in a trunk's folder; None where nobody ever had."""
    numbers = [int(path.name[6:]) for path in folder.glob("claim-*") if path.name[6:].isdigit()]
    if not numbers:
        return None
    path = folder / f"claim-{max(numbers)}"
    try:
        with open(path, encoding="utf-8") as file:  # opening makes NFS ask its server
            content, written = file.read(), os.fstat(file.fileno()).st_mtime
        age = _now(folder) - written
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{folder}: {path.name}: cannot be read: {error.strerror}") from error
    try:
        values = json.loads(content)
    except ValueError:  # read while it was made
        values = {}
    live = written > 0 and age < stale_seconds and not _is_gone(values)
    return Holder(folder.name, max(numbers), live, written == 0, age, values)


def holders(work: Path) -> dict[str, Holder]:
    """The live claims under a folder of work, by name of trunk."""
    found = {}
    for path in work.glob("*/claim-*"):
        if path.parent.name not in found:
            found[path.parent.name] = holder(path.parent)
    return {name: claim for name, claim in found.items() if claim is not None and claim.live}


class Claim:
    """A trunk's claim, held by this process; `beat` is what a thread of it does until it is given back."""

    def __init__(self, path: Path, beat_seconds: float, stale_seconds: float):
        self.path = path
        self.beat_seconds, self.stale_seconds = beat_seconds, stale_seconds
        self.values: dict[str, Any] = _me()
        self.lost = False
        self._beaten = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        """Give the first sign of life, and go on giving them."""
        self.beat()
        self._thread.start()

    def tell(self, **values: Any) -> None:
        """What the next signs of life shall say."""
        self.values = self.values | values

    def beat(self) -> None:
        """Write a sign of life, unless the claim is another's by now; sets `lost` if so."""
        try:
            number = int(self.path.name[6:])
            if any(self.path.with_name(f"claim-{number + n}").exists() for n in (1, 2)):
                raise FileNotFoundError
            handle = os.open(self.path, os.O_WRONLY)  # never makes it anew
            try:
                os.pwrite(handle, json.dumps(self.values).ljust(_BYTES).encode(), 0)
            finally:
                os.close(handle)
            self._beaten = time.monotonic()
        except FileNotFoundError:
            self.lost = True
        except OSError:  # a disk that is full or away for a while; for too long, and the claim is lost
            self.lost = self.lost or time.monotonic() - self._beaten > self.stale_seconds

    def check(self) -> None:
        """Raise Lost if the claim is another's; to be called before anything is written."""
        if not self.lost and time.monotonic() - self._beaten > 3 * self.beat_seconds:
            self.beat()  # this process was stopped for a while, and its thread has not come to it yet
        if self.lost:
            raise Lost(f"{self.path.parent.name}: taken over by another process")

    def give_back(self) -> None:
        """End the signs of life and mark the claim as free; its file stays, so that numbers only rise."""
        self._end.set()
        self._thread.join()
        if not self.lost:
            try:
                os.utime(self.path, (0, 0))
            except OSError:
                pass  # gone with its folder, or stale before long

    def _live(self) -> None:
        while not self._end.wait(self.beat_seconds):
            self.beat()


@contextmanager
def claimed(
    folder: Path, beat_seconds: float = BEAT_SECONDS, stale_seconds: float = STALE_SECONDS
) -> Iterator[Claim | None]:
    """Hold a trunk's folder, or None where another process does; given back at the end.

    Raises InputError naming the folder where it cannot be made or written.
    """
    claim = _take(folder, beat_seconds, stale_seconds)
    try:
        yield claim
    finally:
        if claim is not None:
            claim.give_back()


def _take(folder: Path, beat_seconds: float, stale_seconds: float) -> Claim | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        before = holder(folder, stale_seconds)
        if before is not None and before.live:
            return None
        if before is not None and not before.given_back and not _is_gone(before.values):
            # Silent for long, but not known to be dead: a disk that was away silences everyone.
            time.sleep(2 * beat_seconds)
            again = holder(folder, stale_seconds)
            if again is None or again.live or again.number != before.number:
                return None
        path = folder / f"claim-{before.number + 1 if before else 1}"
        claim = Claim(path, beat_seconds, stale_seconds)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except (FileExistsError, FileNotFoundError):  # another was first, or just removed the finished trunk
        return None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
    claim.start()
    for old in folder.glob("claim-*"):
        if old != path and old.name[6:].isdigit() and int(old.name[6:]) < int(path.name[6:]) - 1:
            old.unlink(missing_ok=True)
    return claim


def _now(folder: Path) -> float:
    """The time on a file made here and now; this machine's where none can be made."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-", suffix=".tmp") as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "place": _place(), "born": _born(pid)}


def _place() -> str:
    """Where a process id means the same process: a host since it was started, and a namespace of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _born(pid: int) -> str:
    """When a process was started, in the kernel's ticks; "" if it is dead, "?" where no one can say."""
    if not os.path.isdir("/proc/self"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except OSError:
            pass
        return "?"
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _is_gone(values: dict[str, Any]) -> bool:
    """Whether the process that wrote this is known to be dead; of another machine's nothing is known."""
    return bool(values) and values.get("place") == _place() and _born(values["pid"]) != values.get("born")
