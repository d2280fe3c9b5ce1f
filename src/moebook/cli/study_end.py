"""What a drive of a study says before it begins and when it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from moebook.study import Job, Opened


def counts(opened: Opened) -> dict[str, int]:
    """{state: runs} of a study's cells."""
    return opened.counts() | {"never_scored": opened.never_scored()}


def never_scored(number: int) -> list[str]:
    """What to say of runs that were made before their study asked for scores."""
    if not number:
        return []
    return [
        f"{number} done runs have no scores and will get none: their weights are gone; a new --runs folder "
        "trains and scores them again"
    ]


def tell_what_lacks(job: Job) -> None:
    """Say before the work which scores will not be measured: afterwards the weights are gone."""
    from moebook.scores import Suite
    from moebook.text import load_text

    if job.scores:
        for name, reason in Suite(job.scores, load_text(job.text, job.folder), job.data).lacking().items():
            typer.echo(f"scores: {name} will not be measured: {reason}", err=True)


def end(report: dict[str, Any], as_json: bool, seconds: float) -> None:
    """Say how a drive ended; exit code 1 if something failed, in this drive or before it."""
    if as_json:
        typer.echo(json.dumps(report | {"seconds": round(seconds, 1)}, allow_nan=False))
    else:
        _say_end(report, seconds)
    if report["failures"] or report["failed"]:
        raise typer.Exit(1)


def _say_end(report: dict[str, Any], seconds: float) -> None:
    """The report in words."""
    from moebook.cli.tables import duration

    for failure in report["failures"]:
        where = f"width {failure['width']} sparsity {failure['sparsity']:.5g} seed {failure['seed']}"
        typer.echo(f"failed: {where}: {failure['reason']}")
    if report["stopped"]:
        typer.echo(f"stopped: {report['stopped']}; run again to go on")
    if report["failed"]:
        typer.echo("a failed run is not run again unless asked: --retry")
    for line in never_scored(report["never_scored"]):
        typer.echo(line)
    names = ("done", "diverged", "failed", "missing")
    typer.echo(
        ", ".join(f"{report[n]} {n}" for n in names) + f" of {report['cells']} runs; {duration(seconds)}"
    )
