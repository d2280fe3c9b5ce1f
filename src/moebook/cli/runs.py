"""The verb `runs`: list, show, check and export the run table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that holds `records`.")]
TextOption = Annotated[str, typer.Option("--text", help="Only runs on this text, as in packages.")]
StudyOption = Annotated[str, typer.Option("--study", help="Only runs of this study.")]
PurposeOption = Annotated[
    str | None,
    typer.Option("--purpose", help="Only runs made for this, as in tuning; '' is those of the table, to "
                 "which laws are fitted."),
]  # fmt: skip
StatusOption = Annotated[str, typer.Option("--status", help="Only done, diverged or failed runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


def register(app: typer.Typer) -> None:
    """Add the verb `runs`."""
    runs = typer.Typer(no_args_is_help=True, help="The run table: list, show, check, export.")
    runs.command("list")(list_runs)
    runs.command("show")(show_run)
    runs.command("check")(check_runs)
    runs.command("table")(export_table)
    app.add_typer(runs, name="runs")


def list_runs(
    runs: RunsOption = Path("runs"),
    text: TextOption = "",
    study: StudyOption = "",
    purpose: PurposeOption = None,
    status: StatusOption = "",
    as_json: JsonOption = False,
) -> None:
    """List runs, one a line.

    Example: moebook runs list --text packages --status done

    Example: moebook runs list --study cpu-english --purpose ''
    """
    rows = _rows(runs, text, study, purpose, status)
    if as_json:
        typer.echo(json.dumps(rows, allow_nan=False))
        return
    from moebook.cli.tables import compact, print_table

    def number(value: float | None, spell: Callable[[float], str]) -> str:
        return "" if value is None else spell(value)

    def cells(row: dict) -> list[str]:
        done = row["status"] == "done"
        return [
            row["key"][:8], row["text"], row["purpose"],
            number(row["compute_flops"], "{:.3g}".format), number(row["sparsity"], "{:.5g}".format),
            str(row["width"]), number(row["params"], compact), compact(row["tokens"]), str(row["seed"]),
            number(row["loss_nats"], "{:.4f}".format) if done else row["status"],
            number(row["loss_stderr_nats"], "{:.4f}".format),
        ]  # fmt: skip

    names = ("key", "text", "purpose", "C", "S", "width", "N", "D", "seed", "loss", "±")
    aside = sum(bool(row["purpose"]) for row in rows)
    fitted = f", {aside} of them with a purpose, to which no law is fitted" if aside else ""
    caption = (
        f"{len(rows)} runs{fitted}; C in FLOPs, N parameters, D tokens, loss in nats a token "
        "with standard error"
    )
    print_table(names, map(cells, rows), left=3, caption=caption)


def show_run(
    key: Annotated[str, typer.Argument(help="Key of the run, or its first digits.")],
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Show one run: configuration, measures, cost, environment, loss curve.

    Example: moebook runs show 4853e81f
    """
    from moebook.errors import InputError
    from moebook.runs import Store

    record = Store(runs).get(key)
    if record is None:
        raise InputError(f"{runs}: key: {key!r}: no such run")
    if as_json:
        typer.echo(record.to_json(), nl=False)
        return
    from moebook.cli.display import in_words
    from moebook.cli.tables import print_table

    head = ("key", "study", "purpose", "status", "reason", "finished", "numerics")
    parts = {
        "": {name: getattr(record, name) for name in head} | {"earlier attempts": len(record.history)},
        "config": {"tokens": record.tokens, "seed": record.seed},
        "model": record.model, "recipe": record.recipe, "text": record.config["text"],
        "measures": record.measures, "cost": record.cost, "environment": record.environment,
    }  # fmt: skip
    listed = [
        (f"{part}.{name}".lstrip("."), str(value))
        for part, values in parts.items()
        for name, value in values.items()
    ]
    listed += [(f"scores.{name}", in_words(entry)) for name, entry in record.scores.get("tasks", {}).items()]
    curve = zip(record.curve.get("tokens", ()), record.curve.get("loss_nats", ()), strict=True)
    listed += [(f"training loss at {tokens:,} tokens", f"{loss:.4f}") for tokens, loss in list(curve)[::8]]
    print_table(("field", "value"), listed, left=2)


def check_runs(runs: RunsOption = Path("runs"), as_json: JsonOption = False) -> None:
    """Check every record: whole, unedited, under its own name. Exit code 1 if one is not.

    Example: moebook runs check
    """
    from moebook.errors import InputError
    from moebook.runs import Store, read_rows

    store = Store(runs)
    if not store.records.is_dir():
        raise InputError(f"{store.records}: no such folder")
    problems = []
    sound = len(read_rows(store, problems=problems, every_byte=True))
    if as_json:
        listed = [{"path": str(problem.path), "reason": problem.reason} for problem in problems]
        typer.echo(json.dumps({"sound": sound, "problems": listed}))
    else:
        for problem in problems:
            typer.echo(f"{problem.path}: {problem.reason}")
        typer.echo(f"{sound} sound records, {len(problems)} files that are not")
    if problems:
        raise typer.Exit(1)


def export_table(
    out: Annotated[Path, typer.Option("--out", help="File to write: .csv or .parquet.")],
    runs: RunsOption = Path("runs"),
    text: TextOption = "",
    study: StudyOption = "",
    purpose: PurposeOption = None,
    status: StatusOption = "",
) -> None:
    """Write the run table, one row a run (columns: runs/README.md).

    Example: moebook runs table --out table.csv
    """
    import io

    from moebook.errors import InputError
    from moebook.files import write_atomic
    from moebook.runs import frame

    if out.suffix not in (".csv", ".parquet"):
        raise InputError(f"--out: {out}: must end in .csv or .parquet")
    table = frame(_rows(runs, text, study, purpose, status))
    if out.suffix == ".csv":
        content = table.to_csv(index=False).encode()
    else:
        buffer = io.BytesIO()
        try:
            table.to_parquet(buffer, index=False)
        except ImportError as error:
            raise InputError(
                f"--out: {out}: parquet needs the package pyarrow; .csv needs nothing"
            ) from error
        content = buffer.getvalue()
    write_atomic(out, content)
    typer.echo(f"{out}: {len(table)} runs")


def _rows(runs: Path, text: str, study: str, purpose: str | None, status: str) -> list[dict]:
    """Rows of the table that meet the filters; a text, study or purpose that no run has is an error."""
    from moebook.errors import InputError
    from moebook.runs import STATUSES, Store, read_rows

    if status and status not in STATUSES:
        raise InputError(f"--status: {status!r}: must be one of {', '.join(STATUSES)}")
    store = Store(runs)
    if not store.records.is_dir():
        raise InputError(f"{store.records}: no such folder")
    found = read_rows(store)
    for name, value in (("text", text), ("study", study), ("purpose", purpose)):
        there = sorted({row[name] for row in found} - {""})
        if value and value not in there:
            raise InputError(
                f"--{name}: {value!r}: no such run in {store.records}; there are {', '.join(there) or 'none'}"
            )
    wanted = {"text": text, "study": study, "status": status}
    found = [row for row in found if all(not v or row[name] == v for name, v in wanted.items())]
    return found if purpose is None else [row for row in found if row["purpose"] == purpose]
