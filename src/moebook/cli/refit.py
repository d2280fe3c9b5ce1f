"""The verb `refit`: the laws of other groups, fitted again to their published runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `refit`."""
    app.command("refit")(refit)


def refit(
    public: Annotated[
        Path | None,
        typer.Option(help="Folder with the published tables; else they are downloaded, by checksum."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for public.json.")] = Path("runs/refits"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the refits as JSON.")] = False,
) -> None:
    """Fit the published laws again to the runs of their authors: point fits, bootstraps and posteriors.

    Example: moebook refit

    Takes some minutes. Stop and go on at any moment: a table that is done is kept until its rows, the law,
    the model or a setting change. The file holds no run of the tables.

    Exit code 1 where a posterior failed a gate.
    """
    from moebook.bayes.refits import refit as run

    found = run(out, public, report=lambda line: typer.echo(line, err=True))
    failed = show(found, out, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(found, allow_nan=False))
    if failed:
        raise typer.Exit(1)


def show(found: dict[str, Any], out: Path, quiet: bool = False) -> int:
    """A row a fit, for people; the number of posteriors that failed a gate."""
    from moebook.bayes.refits import FILE
    from moebook.cli.tables import print_table

    rows, failed = [], 0
    for table, entry in found["tables"].items():
        for part, one in entry["parts"].items():
            for law, fit in one["fits"].items():
                status = fit["posterior"]["status"]
                failed += status != "passed"
                spread = f"{100 * fit['point']['residual_sd']:.2f} %"
                rows.append([table, part, law, str(one["rows"]), spread, status])
            failed += one.get("held_out", {}).get("status", "passed") != "passed"
    if not quiet:
        print_table(("table", "part", "law", "runs", "left over", "posterior"), rows, left=3)
        typer.echo(f"stored in {out / FILE}")
    return failed
