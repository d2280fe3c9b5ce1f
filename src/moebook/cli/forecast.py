"""The verb `forecast`: the loss of runs that were not made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas

    from moebook.bayes.prediction import Forecast

SUFFIXES = (".csv", ".parquet", ".jsonl")
MOST_LINES = 10


def register(app: typer.Typer) -> None:
    """Add the verb `forecast`."""
    app.command("forecast")(forecast)


def forecast(
    posteriors: Annotated[
        list[Path],
        typer.Argument(metavar="POSTERIOR...", help="Folder that `moebook fit` wrote; several are mixed."),
    ],
    at: Annotated[
        list[str],
        typer.Option(
            help="A table of runs to come, or one run, as params=1e9,tokens=2e10,sparsity=.9; repeat."
        ),
    ],
    interval: Annotated[
        list[float], typer.Option(help="Share of the belief inside an interval; repeat for several.")
    ] = (0.9,),
    out: Annotated[Path | None, typer.Option(help="Write the rows to a .csv, .parquet or .jsonl.")] = None,
    columns: Annotated[
        str, typer.Option(help="Names in the table, as in params=N,tokens=D; default: as it was fitted.")
    ] = "",
    flops_per_token: Annotated[
        str, typer.Option(help="Where D comes from C: 6N, 6NA or a column; default: as it was fitted.")
    ] = "",
    group: Annotated[
        str, typer.Option(help="Column of the rows' groups, where the fit had groups; default: a new group.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Decides which draw is widened how far.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """The loss of runs that were not made: median and interval, and whether they lie outside the fitted runs.

    Example: moebook forecast my-fit --at params=1e9,tokens=2e10 --at plans.csv --out forecast.csv

    Two intervals: of the mean curve (the law with its misfit), and of one new run (with its noise). How far a
    row lies outside is a factor in N, D, C, or 1/(1 - S).

    Several posteriors of the same runs, of different laws, are mixed by stacking weights (moebook compare),
    so that no single law decides.

    Exit code 1 where a posterior failed a gate.
    """
    from moebook.cli.compare import load_posteriors
    from moebook.cli.fit import parse_columns
    from moebook.errors import InputError

    if out is not None and out.suffix not in SUFFIXES:
        raise InputError(f"--out: {out}: must end in {', '.join(SUFFIXES)}")
    from moebook import bayes
    from moebook.bayes.prediction import forecast as predict

    names = parse_columns(columns)
    stored = load_posteriors(posteriors, "forecast")
    weights = bayes.compare(stored).weights if len(stored) > 1 else {}
    mixed: Any = stored if weights else next(iter(stored.values()))
    if len(set(interval)) < len(interval):
        raise InputError(f"forecast: --interval: {', '.join(f'{i:g}' for i in interval)}: without repeats")
    asked = [asked_at(each) for each in at]
    by_level = [
        [
            predict(mixed, table, level, names, source, flops_per_token, seed, weights or None, group)
            for table, source in asked
        ]
        for level in interval
    ]
    rows = together(by_level)
    if out is not None:
        write_rows(rows.assign(posterior=" ".join(one.identity for one in stored.values())), out)
    said = [
        {"posterior": name, "law": one.law.name, "identity": one.identity, "weight": weights.get(name, 1.0)}
        for name, one in stored.items()
    ]
    if as_json:
        answer: dict[str, Any] = {"posteriors": said} if weights else {"posterior": said[0]["identity"]}
        before = [dict(zip(("share", "tables"), held_before(level), strict=True)) for level in interval]
        answer["held_before"] = before[0] if len(before) == 1 else before
        typer.echo(json.dumps({**answer, "rows": plain(rows)}, allow_nan=False))
    else:
        for found in by_level:
            show(found)
        show_source(said, out)


def held_before(level: float) -> tuple[float | None, int]:
    """What intervals of this level held in the stored scores, and of how many tables; (None, 0) without."""
    from moebook.bayes.rolling import RESULTS_FILE, stored_results
    from moebook.bayes.scoring import held
    from moebook.cli.fit import runs_folders

    for runs in runs_folders():
        if results := stored_results(runs / "scores" / RESULTS_FILE):
            return held(results, level)
    return None, 0


def asked_at(at: str) -> tuple[pandas.DataFrame, str]:
    """(rows, what messages call them) of a file's path or of `name=value,...`."""
    import pandas as pd

    from moebook.bayes.reading import read_table
    from moebook.cli.fit import parse_columns
    from moebook.errors import InputError

    if Path(at).is_file():
        return read_table(at), at
    if "=" not in at:
        raise InputError(f"--at: {at}: no such file; one run is given as params=1e9,tokens=2e10")
    try:
        values = parse_columns(at)
    except InputError as error:
        raise InputError(str(error).replace("--columns", "--at").replace("params=N", "params=1e9")) from None
    return pd.DataFrame([values]), f"--at {at}"


def together(by_level: list[list[Forecast]]) -> pandas.DataFrame:
    """The rows of all forecasts, numbered through; a row again for each level."""
    import pandas as pd

    levels = [pd.concat([one.table() for one in found], ignore_index=True) for found in by_level]
    return pd.concat([rows.assign(row=range(1, len(rows) + 1)) for rows in levels], ignore_index=True)


def plain(rows: pandas.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; what is not known is null."""
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]


def write_rows(rows: pandas.DataFrame, out: Path) -> None:
    """Write rows in the format that the suffix names."""
    from moebook.files import write_atomic

    if out.suffix == ".parquet":
        buffer = io.BytesIO()
        rows.to_parquet(buffer, index=False)
        write_atomic(out, buffer.getvalue())
    elif out.suffix == ".jsonl":
        lines = (json.dumps(row, allow_nan=False) for row in plain(rows))
        write_atomic(out, "\n".join(lines) + "\n")
    else:
        write_atomic(out, rows.to_csv(index=False))


def show(found: list[Forecast]) -> None:
    """Forecasts of one level for people."""
    from moebook.cli.tables import compact, print_table

    columns = list(found[0].points.columns)
    level = f"{100 * found[0].level:g} %"
    said = {line for one in found for line in one.points.derived if not line.startswith("C = ")}
    for line in sorted(said):
        typer.echo(line, err=True)

    rows, outside = [], []
    for one in found:
        for i in range(len(one.points)):
            place = ((name, one.points.columns[name][i]) for name in columns)
            spelled = [f"{v:.5g}" if name == "sparsity" else compact(v) for name, v in place]
            curve, run = (f"{ends[0, i]:.4f} .. {ends[2, i]:.4f}" for ends in (one.curve, one.run))
            rows.append([str(len(rows) + 1), *spelled, f"{one.curve[1, i]:.4f}", curve, run])
            if one.extrapolates[i]:
                outside.append(f"row {len(rows)} lies outside the fitted runs: {one.outside(i)}")
    print_table(("row", *columns, "loss, nats", f"curve, {level}", f"one run, {level}"), rows, left=0)
    for line in outside[:MOST_LINES]:
        typer.echo(line)
    if len(outside) > MOST_LINES:
        typer.echo(f"and {len(outside) - MOST_LINES} more rows; --out and --json say of each how far")
    if outside:
        typer.echo("there the interval rests on what the model believes of misfit, not on runs")
        share, tables = held_before(found[0].level)
        if tables:
            typer.echo(
                f"on {tables} tables of known runs, at all their budgets, intervals of {level} held "
                f"{100 * share:.0f} % of runs above the fitted ones"
            )


def show_source(posteriors: list[dict[str, Any]], out: Path | None) -> None:
    """Where forecasts come from and where they were written."""
    from moebook.cli.tables import print_table

    if len(posteriors) > 1:
        cells = ([p["posterior"], p["law"], f"{p['weight']:.2f}", p["identity"]] for p in posteriors)
        print_table(("mixed from", "law", "weight", "identity"), cells, left=2)
    else:
        typer.echo(f"identity {posteriors[0]['identity']}")
    if out:
        typer.echo(f"written to {out}")
