"""The verb `judge`: a forecast that was written down, and what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `judge`."""
    app.command("judge")(judge)


def judge(
    forecast: Annotated[Path, typer.Argument(help="What `moebook forecast --out` wrote, with keys.")],
    by: Annotated[
        Path, typer.Option("--by", help="Folder of records, or a table with a column key and a loss.")
    ] = Path("runs"),
    columns: Annotated[
        str, typer.Option(help="Names in that table, as in key=run_id,loss=val_loss; common ones are known.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """How right a written forecast was: its intervals, and the losses of the runs made since.

    Runs are matched by their key, so a forecast of `moebook study plan --out` needs nothing else. Runs that
    are not made yet are counted, and judged another time.

    Example: moebook study plan held-out-english --out cells.csv

    Example: moebook forecast runs/posteriors/english --at cells.csv --interval .9 --out said.csv

    Example: moebook judge said.csv --by runs
    """
    from moebook.bayes.judging import judge as compare
    from moebook.bayes.reading import read_table
    from moebook.cli.fit import parse_columns
    from moebook.runs.table import load_table

    read = load_table(by) if by.is_dir() else read_table(by)
    found = compare(read_table(forecast), read, str(forecast), str(by), parse_columns(columns))
    answer: dict[str, Any] = {"asked": found.asked, "done": found.done, "without_loss": found.without_loss}
    answer["inside"] = [{"interval": level, "runs": n} for level, n in found.inside.items()]
    rows = found.rows[["key", "interval", "run_low_nats", "run_median_nats", "run_high_nats", "loss_nats"]]
    if as_json:
        listed = rows.assign(inside=found.rows["inside"]).to_dict("records")
        typer.echo(json.dumps({**answer, "rows": listed}, allow_nan=False))
        return
    from moebook.cli.tables import print_table

    if found.done:
        names = ("key", "interval", "low", "median", "high", "loss, nats", "inside")
        cells = [
            [str(key), f"{level:g}", *(f"{value:.4f}" for value in values), "yes" if inside else "no"]
            for (key, level, *values), inside in zip(
                rows.itertuples(index=False), found.rows["inside"], strict=True
            )
        ]
        print_table(names, cells, left=1)
        typer.echo(f"the median was off by {abs(found.error_nats).mean():.4f} nats in the mean")
    for level, inside in found.inside.items():
        typer.echo(f"{inside} of {found.done} runs lie in their intervals of {100 * level:g} %")
    lost = "".join(f", {n} {status}" for status, n in found.without_loss.items())
    missing = found.asked - found.done - sum(found.without_loss.values())
    typer.echo(f"{found.asked} runs were forecast: {found.done} done{lost}, {missing} not made yet")
