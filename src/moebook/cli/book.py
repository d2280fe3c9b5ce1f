"""`moebook book`: render the book."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the verb `book` to the command line."""
    group = typer.Typer(
        no_args_is_help=True, help="Execute and render the book that reads the stored posteriors."
    )
    group.command("build", help=build.__doc__)(build)
    app.add_typer(group, name="book")


def build(
    out: Annotated[
        Path | None, typer.Option(help="Folder that gets _build/html; default: the checkout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Execute all chapters and render them to HTML; any warning, or a posterior that failed its gates, is
    an error.

    Example: moebook book build --out /tmp/book
    """
    from rich.console import Console

    from moebook.book import BookError, check_place, project_root
    from moebook.book import build as build_book

    console = Console(stderr=True)
    root = project_root()
    check_place(out or root)
    try:
        with watch_build(console, root) as report:
            result = build_book(root=root, out=out, report=report)
    except BookError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    if as_json:
        summary = {"index": str(result.index), "seconds": result.seconds, "cached": result.cached}
        typer.echo(json.dumps(summary | {"total_seconds": round(result.total_seconds, 1)}))
    else:
        console.print(f"built in {result.total_seconds:.0f} s; open")
        typer.echo(result.index)


@contextmanager
def watch_build(console: Console, root: Path) -> Iterator[Callable[[str, str, float | None], None]]:
    """What a build does, shown as it goes: the `report` that `moebook.book.build` takes."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from moebook.book import chapters

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("checking posteriors", total=len(chapters(root)))

        def report(event: str, chapter: str, seconds: float | None) -> None:
            if event == "executing":
                progress.update(task, description=f"executing {chapter}")
                if not console.is_terminal:
                    console.print(f"executing {chapter}")
            elif event == "rendering":
                progress.update(task, description="rendering")
            elif event == "trouble":
                progress.console.print(chapter, style="red", markup=False, highlight=False, soft_wrap=True)
            else:
                note = f"{chapter}: {seconds:.1f} s" if seconds is not None else f"{chapter}: unchanged"
                progress.console.print(note, highlight=False)
                progress.advance(task)

        yield report
