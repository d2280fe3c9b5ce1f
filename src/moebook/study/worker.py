"""One worker process: takes trunks from its driver, trains them, stores each record as its branch ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.runs import Record, Store
from moebook.study.plan import Trunk
from moebook.text import Text, TextSpec, load_text
from moebook.train import NUMERICS, run_measures, train_trunk

PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What all trunks of a drive have in common. `work` holds locks and checkpoints; see `train_trunk`."""

    study: str
    text: TextSpec
    folder: Path | None
    runs: Path
    work: Path
    retry: bool = False
    compiled: bool = True


def work(connection: Connection, job: Job) -> None:
    """Train trunks as they come through `connection`, until None comes or the driver is gone.

    Sends ("ready",) once, or ("broken", reason); then for each trunk any number of ("progress", steps done,
    steps, loss) and ("record", key, status, loss), and at last ("end", how, reason, {key: status}) where
    `how` is "done", "busy" (another driver has the trunk) or "failed".
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which then ends its workers
    try:
        import torch

        torch.set_num_threads(1)
        text = load_text(job.text, job.folder)
    except InputError as error:
        connection.send(("broken", str(error)))
        return
    connection.send(("ready",))
    while (trunk := _receive(connection)) is not None:
        connection.send(("end", *_attempt(connection, job, text, trunk)))


def _receive(connection: Connection) -> Trunk | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def _attempt(connection: Connection, job: Job, text: Text, trunk: Trunk) -> tuple[str, str, dict[str, str]]:
    """Train what the trunk lacks; how that ended, why, and the status of each of its cells."""
    store = Store(job.runs)
    with trunk_lock(job.work, trunk) as mine:
        if not mine:
            return "busy", "", {}
        folder = job.work / trunk.name
        try:
            _train(connection, store, job, text, trunk, folder)
        except InputError as error:
            return "failed", str(error), _statuses(store, trunk)
        except (OSError, MemoryError) as error:  # the machine's fault: nothing to keep of the run
            if isinstance(error, BrokenPipeError):
                raise
            return "failed", f"{type(error).__name__}: {error}", _statuses(store, trunk)
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError":
                return "failed", f"{type(error).__name__}: {error}", _statuses(store, trunk)
            details = folder / "error.txt"
            write_atomic(details, traceback.format_exc())
            _record_failure(store, job, trunk, error)
            return "failed", f"{type(error).__name__}: {error} (see {details})", _statuses(store, trunk)
        shutil.rmtree(folder, ignore_errors=True)
        return "done", "", _statuses(store, trunk)


def _train(connection: Connection, store: Store, job: Job, text: Text, trunk: Trunk, folder: Path) -> None:
    statuses = _statuses(store, trunk)
    settled = {key for key, status in statuses.items() if status == "done" or not job.retry}
    cells = [cell for cell in trunk.cells if cell.key not in settled]  # another driver may have been here
    if not cells:
        return
    if text.sha256 != trunk.text.sha256:
        raise InputError(f"{job.text.name}: sha256: {text.sha256}: the plan was made for {trunk.text.sha256}")
    last = 0.0

    def on_record(record: Record) -> None:
        stored = store.add(record, retry=job.retry)
        connection.send(("record", stored.key, stored.status, stored.measures.get("loss_nats")))

    def on_progress(steps_done: int, steps: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            connection.send(("progress", steps_done, steps, loss))

    folder.mkdir(parents=True, exist_ok=True)
    tokens = [cell.tokens for cell in cells]
    records = train_trunk(
        trunk.model, trunk.recipe, text, trunk.seed, tokens, folder,
        study=job.study, on_record=on_record, on_progress=on_progress, compiled=job.compiled,
    )  # fmt: skip
    if absent := {cell.key for cell in cells} - {record.key for record in records}:
        raise RuntimeError(f"the trainer returned no record {', '.join(sorted(absent))}")


def _statuses(store: Store, trunk: Trunk) -> dict[str, str]:
    found = ((cell.key, store.get(cell.key)) for cell in trunk.cells)
    return {key: record.status for key, record in found if record is not None}


def _record_failure(store: Store, job: Job, trunk: Trunk, error: Exception) -> None:
    """A run whose own code failed is a record, so that it is seen and not begun again unasked."""
    for cell in trunk.cells:
        stored = store.get(cell.key)
        if stored is None or (job.retry and not stored.done):
            record = Record(
                config=cell.config.to_dict(), numerics=NUMERICS, status="failed", study=job.study,
                measures=run_measures(cell.config), reason=f"{type(error).__name__}: {error}",
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
            )  # fmt: skip
            store.add(record, retry=job.retry)


@contextmanager
def trunk_lock(work: Path, trunk: Trunk) -> Iterator[bool]:
    """Whether this process has the trunk to itself; a lock ends with its process, however that ends."""
    try:
        (work / "locks").mkdir(parents=True, exist_ok=True)
        handle = os.open(work / "locks" / trunk.name, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise InputError(f"{work}: cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
