"""How preparation tells its progress: a callback, and a Rich bar for those who have a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Progress = Callable[[str, int, int], None]
"""progress(what, done, total): bytes, total 0 = unknown; called often, and at the end of a stage."""


def silent(what: str, done: int, total: int) -> None:
    """No progress shown."""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Rich bars on standard error: `with progress_bars() as bars: load_text(spec, progress=bars)`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with ExitStack() as shown:
        bars = Bars(*columns, console=Console(stderr=True))
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if not tasks:  # only now: bars without a task print an empty line
                shown.enter_context(bars)
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield show
