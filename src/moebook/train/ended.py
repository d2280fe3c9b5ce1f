"""What stays of a run that has ended: its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moebook.model import Decoder
from moebook.runs import Record
from moebook.train.environment import environment
from moebook.train.evaluate import held_out_loss
from moebook.train.numerics import NUMERICS
from moebook.train.run import RunConfig, run_measures

if TYPE_CHECKING:
    from moebook.train.loop import Trainer

CURVE_POINTS = 64
SCORE = Callable[[Decoder, RunConfig], Mapping[str, Any]]


@dataclass
class Progress:
    """Where training stands: steps taken, the loss of each, and what they cost."""

    step: int = 0
    losses_nats: list[float] = field(default_factory=list)
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


def _thin(losses_nats: list[float], batch_tokens: int) -> dict[str, list]:
    """The loss curve as at most CURVE_POINTS means over stretches that lengthen with the run."""
    steps = len(losses_nats)
    ends = sorted({round(steps ** (i / CURVE_POINTS)) for i in range(CURVE_POINTS + 1)})
    starts = [0, *ends[:-1]]
    means = [sum(losses_nats[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)]
    return {"tokens": [end * batch_tokens for end in ends], "loss_nats": [round(m, 5) for m in means]}


def ended_record(
    trainer: Trainer, config: RunConfig, study: str, reason: str = "", score: SCORE | None = None
) -> Record:
    """The record of a run that has ended, well or (with a reason) not."""
    progress, processes = trainer.progress, trainer.processes
    measures = run_measures(config)
    if not reason:
        found = held_out_loss(trainer.model, trainer.text, config.recipe.precision)
        last = progress.losses_nats[-max(1, config.steps // 20):]
        measures |= {
            "loss_nats": found.loss_nats,
            "loss_stderr_nats": found.stderr_nats if math.isfinite(found.stderr_nats) else None,
            "bits_per_byte": found.bits, "heldout_tokens": found.tokens,
            "heldout_documents": found.documents, "train_loss_nats": sum(last) / len(last),
            "balance_loss": found.balance_loss,
            "load_largest": max(found.load_largest), "load_smallest": min(found.load_smallest),
            "load_largest_by_layer": found.load_largest, "load_smallest_by_layer": found.load_smallest,
            "load_effective_by_layer": found.load_effective,
        }
        if not math.isfinite(found.loss_nats):
            reason = f"the held-out loss is {found.loss_nats} nats after step {progress.step}"
            measures = run_measures(config)
    scores = {} if reason or score is None else score(trainer.model, config)
    together = {"processes": processes.size} if processes.size > 1 else {}
    return Record(
        config=config.to_dict(), numerics=NUMERICS, study=study,
        status="diverged" if reason else "done", reason=reason, measures=measures,
        curve=_thin(progress.losses_nats, config.batch_tokens) if progress.losses_nats else {},
        cost={
            "wall_seconds": round(progress.wall_seconds, 3),
            "cpu_seconds": round(processes.total(progress.cpu_seconds), 3),
            "tokens_per_second": round(
                progress.step * config.batch_tokens / max(progress.wall_seconds, 1e-9), 1
            ),
        },
        environment=environment(trainer.device) | together,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        scores=scores,
    )
