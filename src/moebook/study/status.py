"""Where a study stands, for whoever asks: read from its store and claims, not from a driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moebook.study.claims import Holder
from moebook.study.estimate import makespan_seconds
from moebook.study.opened import Costs, Opened
from moebook.study.plan import Trunk


def standing_of(opened: Opened, costs: Costs, work: Path) -> dict[str, Any]:
    """The runs of a study by status, and each trunk in work, whichever driver on whichever machine has it.

    flops and missing_flops are of training; flops_left is without what the trunks in work have done.
    expected_seconds are of all that is missing on this machine; seconds_left of what is left, with as many
    processes as are in work now (`workers`; this machine's number where none is).
    """
    running = opened.running(work)
    left = {trunk.name: 1 - _share(held) for trunk, held in running}
    todo = {trunk.name: trunk.flops * left.get(trunk.name, 1.0) for trunk in opened.missing()}
    seconds = [costs.trunk_seconds[name] * left.get(name, 1.0) for name in todo]
    workers = len(running) or costs.workers
    return opened.counts() | {
        "study": opened.study.name, "running_trunks": len(running), "flops": costs.flops,
        "missing_flops": costs.missing_flops, "flops_left": sum(todo.values()),
        "expected_seconds": round(costs.seconds, 1),
        "seconds_left": round(makespan_seconds(seconds, workers), 1), "workers": workers,
        "running": [_row(trunk, held) for trunk, held in running],
    }  # fmt: skip


def _share(held: Holder) -> float:
    steps = held.values.get("steps") or 0
    return held.values.get("steps_done", 0) / steps if steps else 0.0


def _row(trunk: Trunk, held: Holder) -> dict[str, Any]:
    values = held.values
    return {
        "trunk": trunk.name, "width": trunk.model.width, "sparsity": trunk.model.sparsity, "seed": trunk.seed,
        "host": values.get("host", ""), "pid": values.get("pid", 0), "silent_seconds": round(held.age, 1),
        "steps_done": values.get("steps_done", 0), "steps": values.get("steps", 0),
        "loss_nats": values.get("loss_nats"),
    }  # fmt: skip
