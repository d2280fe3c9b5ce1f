"""How long a plan takes on this machine, and what it writes."""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moebook.architecture import ModelConfig, counts
from moebook.scores import items_bytes
from moebook.study.plan import Trunk

#: FLOP/s a unit of width of one process, dense and sparse, where no record says better; measured in fp32 on
#: one core of a Zen 4 server at widths 12 to 64. Small steps keep a GPU no busier than this.
ASSUMED_DENSE, ASSUMED_SPARSE, ASSUMED_MOST = 0.55e9, 0.35e9, 50e9
#: A forward pass over many windows at once does this many times the FLOP/s of a training step.
EVALUATION_SPEED = 1.6
#: Seconds until a worker has imported torch and opened the text.
START_SECONDS = 4.0
#: A record's file, and what each task it was scored on adds to it.
RECORD_BYTES, SCORE_BYTES = 2_600, 530
#: A trunk's checkpoint and that of a branch, each of weights and two moments.
CHECKPOINT_COPIES = 2


@dataclass(frozen=True)
class Rates:
    """Training speed of one process, from records of runs on the same kind of device.

    samples: (width, experts, FLOP/s) of each run that is done and timed.
    """

    device: str
    samples: tuple[tuple[int, int, float], ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], device: str = "cpu") -> Rates:
        """The speeds that rows of the run table report for `device` ("cpu" or "cuda")."""
        samples = []
        for row in rows:
            speed = row["tokens_per_second"]
            if row["status"] == "done" and speed and str(row["device"] or "").startswith(device):
                samples.append((row["width"], row["experts"], speed * row["flops_per_token"]))
        return cls(device, tuple(samples))

    def flops_per_second(self, model: ModelConfig) -> float:
        """Median speed of the runs nearest in width (a factor of two counts twice one in experts)."""
        if not self.samples:
            return min(ASSUMED_MOST, model.width * (ASSUMED_SPARSE if model.routed else ASSUMED_DENSE))
        distance = [
            2 * abs(math.log(width / model.width)) + abs(math.log(experts / model.experts))
            for width, experts, _ in self.samples
        ]
        nearest = min(distance) + 1e-9
        return statistics.median(
            sample[2] for sample, far in zip(self.samples, distance, strict=True) if far <= nearest
        )

    @property
    def source(self) -> str:
        """Where the speeds are from, in words."""
        if self.samples:
            return f"speed measured in {len(self.samples)} runs on {self.device}"
        dense, sparse = ASSUMED_DENSE * 32 / 1e9, ASSUMED_SPARSE * 32 / 1e9
        return (
            f"no run on {self.device} is recorded yet: {dense:.3g} GFLOP/s a process assumed at width 32 "
            f"dense, {sparse:.3g} sparse, in proportion to width"
        )


def cell_seconds(trunk: Trunk, rates: Rates, heldout_tokens: int) -> dict[str, float]:
    """Expected seconds of one process for each cell, by key: its share of training, and its evaluation.

    A forward pass over the held-out tokens has a third of the FLOPs of training on them.
    """
    tokens_per_second = rates.flops_per_second(trunk.model) / trunk.flops_per_token
    evaluation = heldout_tokens / 3 / EVALUATION_SPEED
    return {key: (n + evaluation) / tokens_per_second for key, n in trunk.trained_tokens().items()}


def makespan_seconds(seconds: Sequence[float], workers: int) -> float:
    """Seconds until the last of these is done, each on the first free of `workers`, longest first."""
    if not seconds:
        return 0.0
    free = [START_SECONDS] * workers
    for each in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def disk_bytes(trunks: Sequence[Trunk], workers: int, tasks: Sequence[str] = ()) -> tuple[int, int]:
    """Bytes that stay, and of the largest checkpoints that can lie there at one time.

    What stays are the records and, of runs that are scored on `tasks`, their results by item.
    """
    records = (RECORD_BYTES + SCORE_BYTES * len(tasks)) * sum(len(trunk.cells) for trunk in trunks)
    if tasks:
        records += sum(items_bytes(tasks, trunk.model) * len(trunk.cells) for trunk in trunks)
    states = sorted((counts(trunk.model).params * 12 for trunk in trunks), reverse=True)
    return records, int(CHECKPOINT_COPIES * sum(states[:workers]))
