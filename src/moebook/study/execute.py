"""Run what a study lacks: longest trunk first, each record stored as it is made, whoever the workers are."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from moebook.study.claims import holder
from moebook.study.local import LocalPool
from moebook.study.plan import Trunk
from moebook.study.pool import Died, Ended, Event, Pool, Progress, Started, Stored
from moebook.study.state import Running, State, Watch
from moebook.study.worker import Job

#: How often the driver looks up though nothing has happened, and how often it asks for a trunk that is busy.
TICK_SECONDS = 0.5
BUSY_SECONDS = 2.0
#: How often a trunk is begun whose workers die: a machine that is taken away says nothing against it, but a
#: model that memory is too small for kills every worker.
ATTEMPTS = 3


def run_trunks(
    trunks: Sequence[Trunk],
    seconds: dict[str, float],
    job: Job,
    workers: int,
    limit_seconds: float | None = None,
    watch: Watch | None = None,
    on: Callable[[Job, int], Pool] = LocalPool,
) -> State:
    """Train the trunks' cells that have no record, longest trunk first.

    Args:
        seconds: expected seconds of each trunk, by name; only their order matters for what is run.
        limit_seconds: stop then; what is unfinished keeps its checkpoints and can be taken up again.
        watch: called with the state and a line of news ("" if none) whenever something happened.
        on: makes the workers, of the job and their number: this machine's processes, or a cluster's.

    Returns the state at the end: `failures` names the trunks that failed, or whose workers died ATTEMPTS
    times (the others went on), `stopped` says why there may be cells left. On Ctrl-C the workers are ended
    and KeyboardInterrupt goes on. Raises InputError where no worker can begin.
    """
    pool = on(job, max(1, min(workers, len(trunks))) if workers else 0)
    state = State(list(trunks), seconds, pool.workers)
    driver = _Driver(state, pool, job, watch or (lambda state, news: None))
    try:
        driver.drive(None if limit_seconds is None else state.started + limit_seconds)
    finally:
        pool.close()
    return state


class _Driver:
    """Hands trunks to a pool of workers and keeps account of what it hears of them."""

    def __init__(self, state: State, pool: Pool, job: Job, watch: Watch) -> None:
        self.state, self.pool, self.job, self.watch = state, pool, job, watch
        self.queue = deque(sorted(state.trunks, key=lambda t: -state.seconds[t.name]))
        self.given: dict[str, Trunk] = {}
        self.busy: list[Trunk] = []
        self.asked = 0.0
        self.deaths: Counter[str] = Counter()

    def drive(self, deadline: float | None) -> None:
        while self.queue or self.busy or self.given:
            if deadline is not None and time.monotonic() >= deadline:
                self.state.stopped = "time limit"
                return
            if self.busy and time.monotonic() - self.asked > BUSY_SECONDS:
                self._ask_again()
            while self.queue and len(self.given) < self.pool.slots:
                trunk = self.queue.popleft()
                self.given[trunk.name] = trunk
                self.pool.submit(trunk)
            for event in self.pool.events(TICK_SECONDS):
                self._account(event)
            self.watch(self.state, "")

    def _ask_again(self) -> None:
        """Queue the trunks that another driver had and has no more."""
        held = {trunk.name: holder(self.job.work / trunk.name) for trunk in self.busy}
        free = [t for t in self.busy if held[t.name] is None or not held[t.name].live]
        self.queue.extend(free)
        self.busy = [trunk for trunk in self.busy if trunk not in free]
        self.asked = time.monotonic()

    def _account(self, event: Event) -> None:
        state, trunk = self.state, self.given[event.trunk]
        running = state.running.get(event.trunk)
        if isinstance(event, Started):
            state.running[event.trunk] = Running(trunk, time.monotonic(), where=event.where)
        elif isinstance(event, Progress):
            if running is not None:
                running.steps_done, running.steps = event.steps_done, event.steps
                running.loss_nats = event.loss_nats
        elif isinstance(event, Stored):
            state.statuses[event.key] = event.status
            if event.loss_nats is not None:
                state.losses[event.key] = event.loss_nats
            self.watch(state, f"{event.status} {_label(trunk, event.key)}" + _loss(event.loss_nats))
        else:
            del self.given[event.trunk]
            state.running.pop(event.trunk, None)
            self._end(trunk, event)

    def _end(self, trunk: Trunk, event: Ended | Died) -> None:
        if isinstance(event, Died):
            self.deaths[trunk.name] += 1
            if self.deaths[trunk.name] < ATTEMPTS:
                self.queue.appendleft(trunk)
                self.watch(self.state, f"lost {_label(trunk)}: {event.reason}; goes on elsewhere")
                return
            reason = f"{event.reason}, {ATTEMPTS} times; run the study again to go on"
            self._fail(trunk, reason)
        elif event.how == "busy":
            self.busy.append(trunk)
            self.asked = time.monotonic()
            return
        else:
            self.state.statuses.update(event.statuses)
            if event.how == "failed":
                self._fail(trunk, event.reason)
        self.state.ended.add(trunk.name)

    def _fail(self, trunk: Trunk, reason: str) -> None:
        self.state.failures.append((trunk, reason))
        self.watch(self.state, f"failed {_label(trunk)}: {reason}")


def _label(trunk: Trunk, key: str = "") -> str:
    model = trunk.model
    budget = "".join(f" at {cell.budget_flops:g} FLOPs" for cell in trunk.cells if cell.key == key)
    return f"width {model.width} sparsity {model.sparsity:g} seed {trunk.seed}{budget}"


def _loss(loss_nats: float | None) -> str:
    return "" if loss_nats is None else f": {loss_nats:.4f} nats"
