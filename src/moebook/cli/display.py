"""What long work shows: a bar on a terminal, now and then a line elsewhere. All of it on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 20.0


@contextmanager
def step_progress(label: str, shown: bool = True) -> Iterator[Callable[[int, int, float], None]]:
    """A callback (steps done, steps in all, loss in nats) that shows them, unless `shown` is off."""
    console = Console(stderr=True, quiet=not shown)
    if not console.is_terminal:
        said = time.monotonic()

        def say(done: int, total: int, loss: float) -> None:
            nonlocal said
            if time.monotonic() - said > QUIET_SECONDS or done == total:
                said = time.monotonic()
                console.print(f"{label}: step {done} of {total}, loss {loss:.3f}", highlight=False)

        yield say
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=None, loss=float("nan"))

        def show(done: int, total: int, loss: float) -> None:
            progress.update(task, completed=done, total=total, loss=loss)

        yield show


def score_lines(scores: Mapping[str, Any]) -> list[str]:
    """A record's scores, a line a task."""
    return [f"{name}: {in_words(entry)}" for name, entry in scores.get("tasks", {}).items()]


def in_words(entry: Mapping[str, Any]) -> str:
    """A task's score with its error, chance level and parts, or why there is none."""
    if entry["status"] != "done":
        return f"{entry['status']}: {entry['reason']}"
    error = "" if entry["stderr"] is None else f" ± {entry['stderr']:.3f}"
    parts = ", ".join(f"{name} {part['score']:.3f}" for name, part in entry.get("parts", {}).items())
    found = f"{entry['score']:.3f}{error} {entry['unit']}, chance {entry['chance']:.3g}"
    return f"{found} ({parts})" if parts else found
