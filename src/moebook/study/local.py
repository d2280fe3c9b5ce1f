"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from moebook.errors import InputError
from moebook.study.plan import Trunk
from moebook.study.pool import Died, Ended, Event, Progress, Started, Stored
from moebook.study.worker import Job, work

#: As many workers that end before they begin, one after the other, are no accident.
STILLBORN = 3
#: OpenMP and MKL read these when a process starts; one thread each is the fastest way to fill the cores.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def default_workers(cuda: bool) -> int:
    """One process a core that this process may use; at most eight share a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) if cuda else cores


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    trunk: str = ""


class LocalPool:
    """A few processes, each with a trunk at a time; started when there is work for them."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job = job
        self.slots = self.workers = max(1, workers)
        self._queue: deque[Trunk] = deque()
        self._employed: list[_Worker] = []
        self._stillborn = 0  # workers that died before they began, one after the other

    def submit(self, trunk: Trunk) -> None:
        self._queue.append(trunk)

    def events(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        for worker in self._employed:
            if worker.ready and not worker.trunk and self._queue:
                trunk = self._queue.popleft()
                worker.trunk = trunk.name
                events.append(Started(trunk.name))
                try:
                    worker.connection.send(trunk)
                except OSError:
                    pass  # it died while idle: the end of its connection is read next
        starting = sum(not worker.ready for worker in self._employed)
        while len(self._employed) < self.workers and starting < len(self._queue):
            self._start()
            starting += 1
        by_connection = {worker.connection: worker for worker in self._employed}
        for connection in wait(list(by_connection), 0 if events else seconds):
            events += self._hear(by_connection[connection])
        return events

    def close(self) -> None:
        for worker in self._employed:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._employed:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

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
        self._employed.append(_Worker(process, here))

    def _hear(self, worker: _Worker) -> list[Event]:
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        trunk = worker.trunk
        if kind == "ready":
            worker.ready, self._stillborn = True, 0
        elif kind == "broken":
            raise InputError(content[0])
        elif kind == "progress":
            return [Progress(trunk, *content)]
        elif kind == "record":
            return [Stored(trunk, *content)]
        else:
            worker.trunk = ""
            return [Ended(trunk, *content)]
        return []

    def _bury(self, worker: _Worker) -> list[Event]:
        """A worker is dead; another takes its place when there is work."""
        self._employed.remove(worker)
        worker.connection.close()
        worker.process.join()
        code = worker.process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise InputError(f"{self._stillborn} workers ended before they began, the last by {reason}")
        return [Died(worker.trunk, f"its worker was ended by {reason}")] if worker.trunk else []
