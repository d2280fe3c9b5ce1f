"""One worker: trains trunks, and stores each record as its branch ends."""

from __future__ import annotations

import functools
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.model import Decoder
from moebook.runs import Record, Store
from moebook.runs.sound import HELD_OUT
from moebook.scores import ScoreSpec, Suite
from moebook.study.claims import Claim, Lost, claimed
from moebook.study.plan import Trunk
from moebook.text import Text, TextSpec, load_text
from moebook.train import NUMERICS, RunConfig, run_measures, train_trunk

PROGRESS_SECONDS = 0.5
#: What torch says where a processor's memory has run out; it has an exception of its own for a card's only.
_NO_MEMORY = "can't allocate memory"
#: ("progress", steps done, steps, loss) or ("record", key, status, loss), as it happens
Say = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """What all trunks of a drive have in common; see `train_trunk`.

    `work` holds claims and checkpoints; `data` is where `scores` find their texts. `numerics` is the
    driver's, for a worker with other code to see.
    """

    study: str
    text: TextSpec
    folder: Path | None
    runs: Path
    work: Path
    retry: bool = False
    compiled: bool = True
    checkpoint_seconds: float = 60.0
    numerics: int = NUMERICS
    scores: ScoreSpec | None = None
    data: Path | None = None
    purpose: str = ""


def work(connection: Connection, job: Job) -> None:
    """Train trunks as they come through `connection`, until None comes or the driver is gone.

    Sends ("ready",) once, or ("broken", reason); then for each trunk what `attempt` says, and at last
    ("end", how, reason, {key: status}), what it returns.
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

    def say(*words: object) -> None:
        connection.send(words)

    while (trunk := _receive(connection)) is not None:
        say("end", *attempt(job, text, trunk, say))


def _receive(connection: Connection) -> Trunk | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def attempt(job: Job, text: Text, trunk: Trunk, say: Say) -> tuple[str, str, dict[str, str]]:
    """Train what the trunk lacks; how that ended, why, and the status of each of its cells.

    It ended "done", "failed" or "busy": another process has the trunk, or took it over.
    """
    store = Store(job.runs)
    folder = job.work / trunk.name
    with claimed(folder) as claim:
        if claim is None:
            return "busy", "", {}
        try:
            _train(claim, store, job, text, trunk, say)
        except Lost:
            return "busy", "", {}
        except InputError as error:
            return "failed", str(error), _statuses(store, trunk)
        except (OSError, MemoryError) as error:  # the machine's fault: nothing to keep of the run
            if isinstance(error, BrokenPipeError):
                raise
            return "failed", f"{type(error).__name__}: {error}", _statuses(store, trunk)
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY in str(error):
                return "failed", f"{type(error).__name__}: {error}", _statuses(store, trunk)
            details = folder / "error.txt"
            write_atomic(details, traceback.format_exc())
            _record_failure(store, job, trunk, error)
            return "failed", f"{type(error).__name__}: {error} (see {details})", _statuses(store, trunk)
        shutil.rmtree(folder, ignore_errors=True)  # the claim too: whoever makes it anew finds nothing to do
        return "done", "", _statuses(store, trunk)


def _train(claim: Claim, store: Store, job: Job, text: Text, trunk: Trunk, say: Say) -> None:
    statuses = _statuses(store, trunk)
    _refuse_held_out(store, job, trunk)
    settled = {key for key, status in statuses.items() if status == "done" or not job.retry}
    cells = [cell for cell in trunk.cells if cell.key not in settled]  # another driver may have been here
    if not cells:
        return
    if text.sha256 != trunk.text.sha256:
        raise InputError(f"{job.text.name}: sha256: {text.sha256}: the plan was made for {trunk.text.sha256}")
    last = 0.0
    suite = _suite(job.scores, text, job.data) if job.scores else None
    items: dict[str, bytes] = {}

    def score(model: Decoder, config: RunConfig) -> dict[str, Any]:
        section, items[config.key] = suite(model)
        return section

    def on_record(record: Record) -> None:
        claim.check()
        record = replace(record, purpose=job.purpose)
        stored = store.add(record, retry=job.retry, items=items.pop(record.key, None))
        say("record", stored.key, stored.status, stored.measures.get("loss_nats"))

    def on_progress(steps_done: int, steps: int, loss: float) -> None:
        nonlocal last
        claim.check()  # the trainer writes a checkpoint only after this
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            claim.tell(steps_done=steps_done, steps=steps, loss_nats=loss)
            say("progress", steps_done, steps, loss)

    tokens = [cell.tokens for cell in cells]
    records = train_trunk(
        trunk.model, trunk.recipe, text, trunk.seed, tokens, claim.path.parent,
        study=job.study, on_record=on_record, on_progress=on_progress, compiled=job.compiled,
        checkpoint_seconds=job.checkpoint_seconds, score=score if suite else None,
    )  # fmt: skip
    if absent := {cell.key for cell in cells} - {record.key for record in records}:
        raise RuntimeError(f"the trainer returned no record {', '.join(sorted(absent))}")


@functools.lru_cache(maxsize=1)
def _suite(spec: ScoreSpec, text: Text, data: Path | None) -> Suite:
    """The tasks of a job; a process trains many trunks on one text, and reads the tasks' texts once."""
    return Suite(spec, text, data)


def _statuses(store: Store, trunk: Trunk) -> dict[str, str]:
    found = ((cell.key, store.get(cell.key)) for cell in trunk.cells)
    return {key: record.status for key, record in found if record is not None}


def _refuse_held_out(store: Store, job: Job, trunk: Trunk) -> None:
    """Another drive may have made these runs since this study was opened: held out, or not."""
    for cell in trunk.cells:
        record = store.get(cell.key)
        if record and record.purpose != job.purpose and HELD_OUT in (record.purpose, job.purpose):
            made, wants = (purpose or "the table" for purpose in (record.purpose, job.purpose))
            raise InputError(f"{job.study}: {cell.key}: was made for {made}, and cannot be for {wants}")


def _record_failure(store: Store, job: Job, trunk: Trunk, error: Exception) -> None:
    """A run whose own code failed is a record, so that it is seen and not begun again unasked."""
    for cell in trunk.cells:
        stored = store.get(cell.key)
        if stored is None or (job.retry and not stored.done):
            record = Record(
                config=cell.config.to_dict(), numerics=NUMERICS, status="failed", study=job.study,
                measures=run_measures(cell.config), reason=f"{type(error).__name__}: {error}",
                finished=datetime.now(UTC).isoformat(timespec="seconds"), purpose=job.purpose,
            )  # fmt: skip
            store.add(record, retry=job.retry)
