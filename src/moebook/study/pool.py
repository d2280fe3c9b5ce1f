"""What a driver asks of those who train for it: take a trunk, say what happened, stop.

`local` has it of this machine's processes, `ray` of a Ray cluster; the driver is the same above both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from moebook.study.plan import Trunk


@dataclass(frozen=True)
class Started:
    """A worker has begun with a trunk; `where` names its machine, "" if it is this one."""

    trunk: str
    where: str = ""


@dataclass(frozen=True)
class Progress:
    """Steps done of steps, last training loss in nats."""

    trunk: str
    steps_done: int
    steps: int
    loss_nats: float | None


@dataclass(frozen=True)
class Stored:
    """A cell of a trunk has a record now."""

    trunk: str
    key: str
    status: str
    loss_nats: float | None


@dataclass(frozen=True)
class Ended:
    """A worker is through with a trunk: `how` is "done", "busy" (another driver has it) or "failed".

    statuses: of each of its cells that has a record, by key.
    """

    trunk: str
    how: str
    reason: str = ""
    statuses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Died:
    """A worker, or its machine, died with a trunk in work: nothing is known against the trunk itself."""

    trunk: str
    reason: str


Event = Started | Progress | Stored | Ended | Died


class Pool(Protocol):
    """Workers that train trunks.

    Attributes:
        slots: how many trunks may be submitted at one time.
        workers: how many of them will be in work at one time, as far as is known.
    """

    slots: int
    workers: int

    def submit(self, trunk: Trunk) -> None:
        """Take a trunk; Ended or Died will follow for it."""

    def events(self, seconds: float) -> Sequence[Event]:
        """What happened; waits for something for at most so long.

        Raises InputError, or RuntimeError, where no worker can begin.
        """

    def close(self) -> None:
        """Stop all workers now; what they have stored, checkpoints too, stays."""
