"""How a drive shows where it stands: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from moebook.study.state import Running, State

PLAIN_SECONDS = 30.0
ROWS = 24  # trunks in work that a terminal has room for


def standing(state: State) -> str:
    """Where a drive stands, in one line: runs done, running, failed; FLOPs and time left."""
    figures = [(name, value) for name, value in _figures(state) if name != "diverged" or value != "0"]
    return " · ".join(f"{value} {name}" for name, value in figures)


def _figures(state: State) -> list[tuple[str, str]]:
    return [
        ("done", f"{state.count('done')}/{state.cells}"), ("running", str(len(state.running))),
        ("diverged", str(state.count("diverged"))), ("failed", str(state.failed)),
        ("FLOPs left", f"{state.flops_left:.2e}"), ("min left", f"{state.seconds_left / 60:.1f}"),
    ]  # fmt: skip


def live_table(name: str, state: State) -> Group:
    """The drive's figures, and a row for each trunk in work, the furthest first."""
    head = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"study {name}", title_justify="left")
    for label, _ in _figures(state):
        head.add_column(label, justify="right")
    head.add_row(*(value for _, value in _figures(state)))
    trunks = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for label in ("width", "S", "E", "seed", "step", "", "loss", "on"):
        trunks.add_column(label, justify="left" if label in ("", "on") else "right", no_wrap=True)
    running = sorted(state.running.values(), key=lambda r: -r.steps_done / (r.steps or 1))
    for each in running[:ROWS]:
        trunks.add_row(*_row(each))
    more = [f"and {len(running) - ROWS} more"] if len(running) > ROWS else []
    return Group(head, trunks, *more)


def _row(running: Running) -> tuple[str | ProgressBar, ...]:
    model = running.trunk.model
    return (
        str(model.width), f"{model.sparsity:.5g}", str(model.experts), str(running.trunk.seed),
        f"{running.steps_done}/{running.steps}" if running.steps else "",
        ProgressBar(total=running.steps or 1, completed=running.steps_done, width=20),
        "" if running.loss_nats is None else f"{running.loss_nats:.3f}", running.where,
    )  # fmt: skip


class Display:
    """`with Display(name) as display: run_trunks(..., watch=display)`; writes to standard error."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self.name = name
        self.console = console or Console(file=sys.stderr)
        self.shown = time.monotonic()
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, state: State, news: str) -> None:
        """Show the state; a line of news is printed and stays."""
        if self.live is None:
            if news or time.monotonic() - self.shown > PLAIN_SECONDS:
                self.shown = time.monotonic()
                line = f"{news} ({standing(state)})" if news else standing(state)
                self.console.print(line, soft_wrap=True, highlight=False)
            return
        if news:
            self.live.console.print(news, highlight=False)
        if news or time.monotonic() - self.shown > 0.25:
            self.shown = time.monotonic()
            self.live.update(live_table(self.name, state), refresh=True)
