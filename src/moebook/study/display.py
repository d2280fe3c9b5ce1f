"""How a drive shows where it stands: Rich bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from moebook.study.execute import State

PLAIN_SECONDS = 30.0


def standing(state: State) -> str:
    """Where a drive stands, in one line: runs done, running, failed; FLOPs and time left."""
    flops = state.flops
    left = (1 - state.share_done(flops)) * sum(flops.values())
    failed = state.count("failed") + sum(1 for trunk, _ in state.failures if not _recorded(state, trunk))
    parts = [f"{state.count('done')}/{state.cells} done", f"{len(state.running)} running"]
    if diverged := state.count("diverged"):
        parts.append(f"{diverged} diverged")
    parts.append(f"{failed} failed")
    parts.append(f"{left:.2e} FLOPs left")
    parts.append(f"{state.seconds_left / 60:.1f} min left")
    return " · ".join(parts)


def _recorded(state: State, trunk: object) -> bool:
    return any(state.statuses.get(cell.key) == "failed" for cell in trunk.cells)


class Display:
    """`with Display(name) as display: run_trunks(..., watch=display)`; writes to standard error."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self.name = name
        self.console = console or Console(file=sys.stderr)
        self.bars: Progress | None = None
        self.whole: TaskID | None = None
        self.tasks: dict[int, TaskID] = {}
        self.shown = time.monotonic()
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[news]}"))
            self.bars = Progress(*columns, console=self.console, refresh_per_second=4)
            self.whole = self.bars.add_task(f"study {name}", total=1.0, news="starting")

    def __enter__(self) -> Display:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def __call__(self, state: State, news: str) -> None:
        """Show the state; a line of news is printed and stays."""
        if self.bars is None:
            if news or time.monotonic() - self.shown > PLAIN_SECONDS:
                self.shown = time.monotonic()
                line = f"{news} ({standing(state)})" if news else standing(state)
                self.console.print(line, soft_wrap=True, highlight=False)
            return
        if news:
            self.bars.console.print(news, highlight=False)
        self.bars.update(self.whole, completed=state.share_done(state.flops), news=standing(state))
        for number in [n for n in self.tasks if n not in state.running]:
            self.bars.remove_task(self.tasks.pop(number))
        for number, running in state.running.items():
            if number not in self.tasks:
                self.tasks[number] = self.bars.add_task("", total=1.0, news="")
            model = running.trunk.model
            loss = "" if running.loss_nats is None else f"loss {running.loss_nats:.3f}"
            self.bars.update(
                self.tasks[number],
                description=f"  width {model.width} S {model.sparsity:.5g} seed {running.trunk.seed}",
                completed=running.steps_done, total=running.steps or None, news=loss,
            )  # fmt: skip
