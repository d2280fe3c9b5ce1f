"""The verb `reproduce`: retrain, refit, render, compare. `make reproduce` calls it."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer


def reproduce(
    only: Annotated[
        list[str],
        typer.Option("--only", help="Retrain only these cells: budget|sparsity|width|seed=VALUE[,VALUE]."),
    ] = (),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Retrain the quick study, refit every stored posterior from the run table, render the book, and compare.

    Works under build/reproduce; what is committed is read, never written. Exit code 1 if a number differs.

    Example: moebook reproduce --only budget=3e10
    """
    from rich.console import Console
    from rich.table import Table

    from moebook.book import BookError, build, check_place, project_root
    from moebook.cli.book import watch_build
    from moebook.cli.tables import duration
    from moebook.reproduce import DIFFERS, StageError, refit, retrain, tally, worst

    console = Console(stderr=True)
    root = project_root()
    check_place(root)
    scratch = root / "build" / "reproduce"
    rows: list[dict[str, object]] = []
    page = ""

    def stage(what: str, made: str, work) -> None:
        """Run one stage; each part of it becomes a row, and so does its failure."""
        console.rule(what, align="left")
        started = time.monotonic()
        try:
            parts = work()
        except (StageError, BookError) as error:
            parts = [(made, "failed", str(error), [])]
        seconds = time.monotonic() - started
        for name, level, counted, comparisons in parts:
            details = [f"{c.name}: {c.detail}" for c in comparisons if c.level == DIFFERS]
            row = {"part": name, "result": level, "counts": counted, "differs": details}
            rows.append(row | {"seconds": round(seconds / len(parts), 1)})  # parts of a stage share its time

    def runs():
        found = retrain(root, scratch / "runs", only)
        return [("retrained: quick study", worst(found), tally(found), found)]

    def posteriors():
        return [
            (f"refitted: posterior {name}", worst(found), tally(found), found)
            for name, found in refit(root, scratch / "posteriors").items()
        ]

    def book():
        nonlocal page
        with watch_build(console, root) as report:
            result = build(root=root, report=report)
        page = str(result.index)
        counted = f"{len(result.seconds) + len(result.cached)} chapters, {len(result.seconds)} executed"
        return [("rendered: book", "without a warning", counted, [])]

    stage("1 of 3: retraining the quick study", "retrained: quick study", runs)
    stage("2 of 3: refitting the posteriors from the committed run table", "refitted: posteriors", posteriors)
    stage("3 of 3: executing and rendering the book", "rendered: book", book)

    wrong = [row for row in rows if row["result"] in (DIFFERS, "failed")]
    if as_json:
        typer.echo(json.dumps({"parts": rows, "page": page, "reproduced": not wrong}, allow_nan=False))
    else:
        table = Table("part", "compared with what is committed", "in numbers", "time")
        for row in rows:
            style = "red" if row in wrong else "green"
            table.add_row(
                row["part"], f"[{style}]{row['result']}[/]", row["counts"], duration(row["seconds"])
            )  # fmt: skip
        Console().print(table)
        for row in wrong:
            for detail in row["differs"][:10]:
                typer.echo(f"{row['part']}: {detail}")
        typer.echo(f"the page to open: {page}" if page else "the book was not rendered")
    if wrong:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb `reproduce`."""
    app.command()(reproduce)
