"""Where a drive stands: what is done, in work, failed, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moebook.study.plan import Trunk


@dataclass
class Running:
    """A trunk in work: steps done of steps, last training loss (nats), on which machine."""

    trunk: Trunk
    started: float
    steps_done: int = 0
    steps: int = 0
    loss_nats: float | None = None
    where: str = ""


@dataclass
class State:
    """Where a drive stands. `seconds` are those the plan expects of each trunk, by its name.

    Also by name of trunk: `running`, `ended`. By key of cell: `statuses`, `losses`.
    """

    trunks: Sequence[Trunk]
    seconds: dict[str, float]
    workers: int
    started: float = field(default_factory=time.monotonic)
    statuses: dict[str, str] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    failures: list[tuple[Trunk, str]] = field(default_factory=list)
    stopped: str = ""

    def count(self, status: str) -> int:
        """Cells that ended with this status."""
        return sum(1 for value in self.statuses.values() if value == status)

    @property
    def failed(self) -> int:
        """Cells recorded as failed, and trunks that failed without a record."""
        recorded = {key for key, status in self.statuses.items() if status == "failed"}
        unrecorded = sum(recorded.isdisjoint(c.key for c in trunk.cells) for trunk, _ in self.failures)
        return len(recorded) + unrecorded

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
    def flops_left(self) -> float:
        return (1 - self.share_done(self.flops)) * sum(self.flops.values())

    @property
    def seconds_left(self) -> float:
        """Expected seconds to the end, at the speed so far; at the plan's speed in the first moments."""
        elapsed = time.monotonic() - self.started
        share = self.share_done(self.seconds)
        planned = sum(self.seconds.values()) / self.workers
        return elapsed * (1 - share) / share if share > 0.02 else max(0.0, planned - elapsed)


Watch = Callable[[State, str], None]
