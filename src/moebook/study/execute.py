"""Run what a study lacks: a few worker processes, longest trunk first, each record stored as it is made."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from moebook.errors import InputError
from moebook.study.plan import Trunk
from moebook.study.worker import Job, work

#: How often the driver looks up though nothing has happened, and how often it asks for a trunk that is busy.
TICK_SECONDS = 0.5
BUSY_SECONDS = 2.0
#: OpenMP and MKL read these when a process starts; one thread each is the fastest way to fill the cores.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class Running:
    """A trunk in work: steps done of steps, last training loss (nats)."""

    trunk: Trunk
    started: float
    steps_done: int = 0
    steps: int = 0
    loss_nats: float | None = None


@dataclass
class State:
    """Where a drive stands. `seconds` are those the plan expects of each trunk, by its name."""

    trunks: Sequence[Trunk]
    seconds: dict[str, float]
    workers: int
    started: float = field(default_factory=time.monotonic)
    statuses: dict[str, str] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    failures: list[tuple[Trunk, str]] = field(default_factory=list)
    stopped: str = ""

    def count(self, status: str) -> int:
        """Cells that ended with this status."""
        return sum(1 for value in self.statuses.values() if value == status)

    @property
    def cells(self) -> int:
        return sum(len(trunk.cells) for trunk in self.trunks)

    @property
    def left(self) -> int:
        """Cells that have no record."""
        return self.cells - len(self.statuses)

    def share_done(self, weights: dict[str, float]) -> float:
        """Share of the work done, each trunk weighing as given (FLOPs or seconds)."""
        parts = {r.trunk.name: r.steps_done / r.steps for r in self.running.values() if r.steps}
        done = sum(w if name in self.ended else w * parts.get(name, 0.0) for name, w in weights.items())
        return done / (sum(weights.values()) or 1.0)

    @property
    def flops(self) -> dict[str, float]:
        """FLOPs of each trunk, its decays included, by its name."""
        return {trunk.name: trunk.flops for trunk in self.trunks}

    @property
    def seconds_left(self) -> float:
        """Expected seconds to the end, at the speed so far; at the plan's speed in the first moments."""
        elapsed = time.monotonic() - self.started
        share = self.share_done(self.seconds)
        planned = sum(self.seconds.values()) / self.workers
        return elapsed * (1 - share) / share if share > 0.02 else max(0.0, planned - elapsed)


Watch = Callable[[State, str], None]


def default_workers(cuda: bool) -> int:
    """One process a core that this process may use; at most eight share a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) if cuda else cores


def run_trunks(
    trunks: Sequence[Trunk],
    seconds: dict[str, float],
    job: Job,
    workers: int,
    limit_seconds: float | None = None,
    watch: Watch | None = None,
) -> State:
    """Train the trunks' cells that have no record, longest trunk first.

    Args:
        seconds: expected seconds of each trunk, by name; only their order matters for what is run.
        limit_seconds: stop then; what is unfinished keeps its checkpoints and can be taken up again.
        watch: called with the state and a line of news ("" if none) whenever something happened.

    Returns the state at the end: `failures` names the trunks that failed or whose worker died (the others
    went on), `stopped` says why there may be cells left. On Ctrl-C the workers are ended and
    KeyboardInterrupt goes on. Raises InputError where no worker can begin.
    """
    workers = max(1, min(workers, len(trunks)))
    state = State(list(trunks), seconds, workers)
    driver = _Driver(state, job, watch or (lambda state, news: None))
    try:
        driver.drive(None if limit_seconds is None else state.started + limit_seconds)
    finally:
        driver.close()
    return state


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False


class _Driver:
    """Hands trunks to workers and hears from them."""

    def __init__(self, state: State, job: Job, watch: Watch) -> None:
        self.state, self.job, self.watch = state, job, watch
        self.queue = deque(sorted(state.trunks, key=lambda t: -state.seconds[t.name]))
        self.busy: list[Trunk] = []
        self.asked = 0.0
        self.workers: dict[int, _Worker] = {}

    def drive(self, deadline: float | None) -> None:
        while self.queue or self.busy or self.state.running:
            if deadline is not None and time.monotonic() >= deadline:
                self.state.stopped = "time limit"
                return
            if self.busy and time.monotonic() - self.asked > BUSY_SECONDS:
                self.asked = time.monotonic()
                self.queue.extend(self.busy)
                self.busy.clear()
            self._employ()
            by_connection = {worker.connection: number for number, worker in self.workers.items()}
            for connection in wait(list(by_connection), TICK_SECONDS):
                self._hear(by_connection[connection])
            self.watch(self.state, "")

    def close(self) -> None:
        """End the workers; the checkpoints of a trunk that one is in stay."""
        for worker in self.workers.values():
            worker.process.terminate()
            worker.connection.close()
        for worker in self.workers.values():
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _employ(self) -> None:
        """Give each idle worker a trunk; start workers while there are more trunks than idle ones."""
        for number, worker in self.workers.items():
            if worker.ready and number not in self.state.running and self.queue:
                self._give(number, worker)
        starting = sum(not worker.ready for worker in self.workers.values())
        while len(self.workers) < self.state.workers and starting < len(self.queue):
            self._start()
            starting += 1

    def _give(self, number: int, worker: _Worker) -> None:
        trunk = self.queue.popleft()
        self.state.running[number] = Running(trunk, time.monotonic())
        try:
            worker.connection.send(trunk)
        except OSError:
            pass  # it died while idle: `_hear` reads the end of its connection next

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, self.job), daemon=True)
        before = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(_ONE_THREAD)
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        there.close()
        self.workers[max(self.workers, default=0) + 1] = _Worker(process, here)

    def _hear(self, number: int) -> None:
        worker = self.workers[number]
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(number)
            return
        running = self.state.running.get(number)
        if kind == "ready":
            worker.ready = True
        elif kind == "broken":
            raise InputError(content[0])
        elif kind == "progress":
            running.steps_done, running.steps, running.loss_nats = content
        elif kind == "record":
            key, status, loss = content
            self.state.statuses[key] = status
            if loss is not None:
                self.state.losses[key] = loss
            self.watch(self.state, f"{status} {self._label(running.trunk, key)}" + _loss(loss))
        else:
            self._end(number, *content)

    def _end(self, number: int, how: str, reason: str, statuses: dict[str, str]) -> None:
        trunk = self.state.running.pop(number).trunk
        if how == "busy":
            self.busy.append(trunk)
            self.asked = time.monotonic()
            return
        self.state.statuses.update(statuses)
        self.state.ended.add(trunk.name)
        if how == "failed":
            self._fail(trunk, reason)

    def _bury(self, number: int) -> None:
        """A worker is dead: its trunk failed for now, which is not recorded; another takes its place."""
        worker = self.workers.pop(number)
        worker.connection.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not worker.ready:
            raise RuntimeError(f"a worker ended before it began: {reason}")
        running = self.state.running.pop(number, None)
        if running is not None:
            self.state.ended.add(running.trunk.name)
            self._fail(running.trunk, f"its worker was ended by {reason}; run the study again to go on")

    def _fail(self, trunk: Trunk, reason: str) -> None:
        self.state.failures.append((trunk, reason))
        self.watch(self.state, f"failed {self._label(trunk)}: {reason}")

    @staticmethod
    def _label(trunk: Trunk, key: str = "") -> str:
        model = trunk.model
        budget = "".join(f" at {cell.budget_flops:g} FLOPs" for cell in trunk.cells if cell.key == key)
        return f"width {model.width} sparsity {model.sparsity:g} seed {trunk.seed}{budget}"


def _loss(loss_nats: float | None) -> str:
    return "" if loss_nats is None else f": {loss_nats:.4f} nats"
