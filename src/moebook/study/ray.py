"""Workers that are tasks of a Ray cluster: each trunk one task, on whichever node has room.

The folder of runs must lie on a file system that all nodes see under the same path, and moebook must be
installed on each; Ray itself carries nothing but the trunk's configuration and how it ended. A task is not
bound to its node: its checkpoint lies in the shared folder, so that after a node's death the trunk goes on
elsewhere. All trunks are submitted at once, longest first, which is what lets an autoscaler see how many
nodes there is work for.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moebook.errors import InputError
from moebook.runs import Store
from moebook.study.claims import holder
from moebook.study.local import default_workers
from moebook.study.plan import Trunk
from moebook.study.pool import Died, Ended, Event, Progress, Started, Stored
from moebook.study.worker import Job, attempt
from moebook.text import Text, TextSpec, load_text
from moebook.train import NUMERICS

if TYPE_CHECKING:
    import ray

#: How often the driver looks into the shared folder for how far each trunk is.
LOOK_SECONDS = 2.0
PER_GPU = 8


@functools.lru_cache(maxsize=1)
def _text(spec: TextSpec, folder: Path | None) -> Text:
    """A task's text; Ray hands one process many tasks."""
    return load_text(spec, folder)


def train_on_node(job: Job, trunk: Trunk) -> tuple[str, str, dict[str, str]]:
    """The task: see `attempt`; or "broken" and why, where this node cannot train at all."""
    if job.numerics != NUMERICS:
        return "broken", f"a node has another moebook: numerics {NUMERICS}, the driver {job.numerics}", {}
    try:
        Store(job.runs).records.mkdir(parents=True, exist_ok=True)
        text = _text(job.text, job.folder)
    except (InputError, OSError) as error:
        return "broken", f"on a node: {error}", {}
    return attempt(job, text, trunk, lambda *said: None)


class RayPool:
    """A cluster found by its address (host:port, or ray://host:port for Ray's client), or started here.

    Args:
        workers: trunks in work at one time; 0 is as many as the cluster has room for, or grows to.
        address: of the cluster; "" is the environment's RAY_ADDRESS, or a cluster of this machine alone,
            which ends with the pool.
        per_gpu: trunks that share a GPU, where the cluster has one.

    Raises InputError where ray is not installed or no cluster answers.
    """

    def __init__(self, job: Job, workers: int, address: str = "", per_gpu: int = PER_GPU) -> None:
        self.ray = connect(address, workers)
        folder, data = (None if path is None else path.resolve() for path in (job.folder, job.data))
        self.job = replace(job, runs=job.runs.resolve(), work=job.work.resolve(), folder=folder, data=data)
        self.store = Store(self.job.runs)
        found = self.ray.cluster_resources()
        gpus, cpus = found.get("GPU", 0.0), found.get("CPU", 1.0)
        self.slots = workers or 1_000_000
        self.workers = max(1, min(self.slots, int(gpus * per_gpu if gpus else cpus)))
        options = {"num_gpus": 1 / per_gpu} if gpus else {}
        # A lost task is the driver's to submit again, which counts how often that happens.
        self.task = self.ray.remote(num_cpus=1, max_retries=0, **options)(train_on_node)
        self._submitted: dict[Any, Trunk] = {}
        self._started: set[str] = set()
        self._stored: set[str] = set()
        self._looked = 0.0
        self._news: deque[Event] = deque()

    def submit(self, trunk: Trunk) -> None:
        self._submitted[self.task.remote(self.job, trunk)] = trunk

    def events(self, seconds: float) -> list[Event]:
        if not self._submitted:
            time.sleep(seconds)
            return []
        ready, _ = self.ray.wait(list(self._submitted), timeout=seconds, fetch_local=False)
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        for task in ready:
            trunk = self._submitted.pop(task)
            self._started.discard(trunk.name)
            self._news.append(self._outcome(task, trunk))
        events = list(self._news)
        self._news.clear()
        return events

    def close(self) -> None:
        try:
            for task in self._submitted:
                self.ray.cancel(task, force=True)
        finally:
            self.ray.shutdown()

    def _outcome(self, task: Any, trunk: Trunk) -> Ended | Died:
        try:
            how, reason, statuses = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            return Ended(trunk.name, "failed", f"{type(error.cause).__name__}: {error.cause}")
        except self.ray.exceptions.RayError as error:
            return Died(trunk.name, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        if how == "broken":
            raise InputError(reason)
        if how != "busy":
            self._announce(trunk)
        return Ended(trunk.name, how, reason, statuses)

    def _look(self) -> None:
        """News of the trunks in work, from their claims and their records in the shared folder."""
        self._looked = time.monotonic()
        there = set(os.listdir(self.job.work)) if self.job.work.is_dir() else set()
        for trunk in self._submitted.values():
            held = holder(self.job.work / trunk.name) if trunk.name in there else None
            if held is None or not held.live:
                continue
            if trunk.name not in self._started:
                self._started.add(trunk.name)
                self._news.append(Started(trunk.name, held.values.get("host", "")))
            if steps := held.values.get("steps"):
                done, loss = held.values["steps_done"], held.values["loss_nats"]
                self._news.append(Progress(trunk.name, done, steps, loss))
            self._announce(trunk)

    def _announce(self, trunk: Trunk) -> None:
        for cell in trunk.cells:
            if cell.key not in self._stored and (record := self.store.get(cell.key)) is not None:
                if not (self.job.retry and not record.done):
                    self._stored.add(cell.key)
                    loss = record.measures.get("loss_nats")
                    self._news.append(Stored(trunk.name, cell.key, record.status, loss))


def connect(address: str, workers: int = 0) -> ray:
    """Ray, connected; see `RayPool`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    try:
        import ray
    except ImportError as error:
        raise InputError("--on ray: ray is not installed; pip install -e '.[ray]' in the checkout") from error
    address = address or os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        _see_that_it_answers(address)
    else:
        options |= {"num_cpus": workers or default_workers(cuda=False), "include_dashboard": False}
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--address: {address or 'local'}: no Ray cluster: {reason}") from error
    return ray


def _see_that_it_answers(address: str) -> None:
    """Raise InputError unless something listens there: Ray itself would try for several minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except ValueError as error:
        raise InputError(f"--address: {address}: must be as 10.0.0.1:6379") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--address: {address}: no Ray cluster: {reason}") from error
