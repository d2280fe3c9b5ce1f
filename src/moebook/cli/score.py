"""The verb `score`: how good forecasts would have been."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

DOWNLOAD = "download"


def register(app: typer.Typer) -> None:
    """Add the verb `score`."""
    app.command("score")(score)


def score(
    table: Annotated[Path | None, typer.Argument(help="Your runs, as `moebook fit` reads them.")] = None,
    law: Annotated[
        str | None, typer.Option(help="With a table: the law; default as in `moebook fit`.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="With a table: names in it, as in params=N,tokens=D,loss=loss.")
    ] = "",
    flops_per_token: Annotated[
        str, typer.Option(help="With a table: where D comes from C, or C from D: 6N, 6NA or a column.")
    ] = "",
    public: Annotated[
        str, typer.Option(help="Folder of the public tables, or `download`: score these.", metavar="FOLDER")
    ] = "",
    runs: Annotated[Path | None, typer.Option(help="Folder of records: score each of its texts.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for forecasts.json, continued if there.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Inner origins of a table at most.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws of each of four chains.")] = 700,
    tune: Annotated[int, typer.Option(min=1, help="Steps each takes to tune itself before them.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """How honest forecasts would have been: fits of the smaller budgets, asked for the larger ones.

    Example: moebook score runs.csv --law chinchilla

    Example: moebook score --public tables --runs runs --out runs/scores

    From every budget that leaves enough runs the law is fitted to the runs up to it, and what it forecasts of
    those above is scored beside a point fit with a bootstrap and residual noise: how many lie in intervals
    of 50 and 90 %, CRPS and log score of log loss. `top` asks for the largest budgets, about a fifth of the
    runs; `inner` origins lie below and leave the top alone. What is in --out already is not done again.
    """
    from moebook.errors import InputError

    families = bool(public) or runs is not None
    if table is None and not families:
        raise InputError("score: needs a table, or --public, or --runs")
    if table is not None and families:
        raise InputError(f"score: {table}: either a table, or --public and --runs")
    if table is None and (law or columns or flops_per_token):
        raise InputError("score: --law, --columns and --flops-per-token go with a table of your own")
    if families and out is None:
        raise InputError("score: --out: missing: the folder for forecasts.json")
    from moebook.bayes import families as known
    from moebook.bayes.rolling import RESULTS_FILE, SAMPLER, Settings
    from moebook.bayes.rolling import score as run

    tables = []
    if table is not None:
        tables.append(known.own_table(table, law, parse(columns), flops_per_token))
    if public:
        tables += known.public_tables(None if public == DOWNLOAD else Path(public))
    if runs is not None:
        tables += known.record_tables(runs)
    sampler = replace(SAMPLER, draws=draws, tune=tune, stored=draws)
    settings = Settings(sampler, seed=seed, most=most)
    answer = run(tables, out, settings, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(answer, allow_nan=False))
        return
    if table is not None:
        show_origins(answer["results"])
    show(answer)
    if out is not None:
        typer.echo(f"stored in {out / RESULTS_FILE}")


def parse(columns: str) -> dict[str, str]:
    """`params=N,loss=L` as a dict."""
    from moebook.cli.fit import parse_columns

    return parse_columns(columns)


def show(answer: Mapping[str, Any]) -> None:
    """Figures by table, pooled, and by distance, for people."""
    from moebook.cli.tables import print_table

    names = ("90 %", "50 %", "CRPS", "bootstrap's", "log score", "bootstrap's")
    for part in ("inner", "top"):
        found = answer["summary"].get(part)
        if found is None:
            typer.echo(f"{part}: no origin leaves enough runs")
            continue
        rows = [[name, *_cells(one)] for name, one in found["tables"].items()]
        print_table((f"{part}: covered by", *names), rows, left=1)
        if len(rows) > 1:
            typer.echo(_pooled(found["pooled"]))
    bins = [[_distance(one), str(one["points"]), *_cells(one)] for one in answer["summary"]["distance"]]
    print_table(("budget above the fitted", "runs", *names), bins, left=1)
    failed = [result for result in answer["results"] if result["fit"]["status"] != "passed"]
    if failed:
        worst = max(failed, key=lambda result: result["fit"]["rhat"])
        divergences = sum(result["fit"]["divergences"] for result in answer["results"])
        typer.echo(
            f"{len(failed)} of {len(answer['results'])} fits failed a gate: {divergences} divergences in "
            f"all, R-hat up to {worst['fit']['rhat']:.3f} ({worst['table']})"
        )


def show_origins(results: list[dict[str, Any]]) -> None:
    """A line for each origin of one table."""
    import numpy as np

    from moebook.bayes.scoring import figures
    from moebook.cli.tables import print_table

    rows, asked, covered = [], 0, 0.0
    for one in results:
        every = np.ones(one["asked"], dtype=bool)
        model, other = (figures(one["points"][who], every) for who in ("model", "bootstrap"))
        asked, covered = asked + one["asked"], covered + one["asked"] * model["coverage_90"]
        counts = [f"{one['level']:.3g}", str(one["fitted"]), str(one["asked"])]
        rows.append([*counts, *_cells({"model": model, "bootstrap": other})])
    names = ("90 %", "50 %", "CRPS", "bootstrap's", "log score", "bootstrap's")
    print_table((f"{results[0]['level_of']} up to", "fitted", "asked", *names), rows, left=0)
    typer.echo(f"of {asked} forecasts, {covered:.0f} came out in their interval of 90 %\n")


def _cells(one: Mapping[str, Any]) -> list[str]:
    model, other = one["model"], one["bootstrap"]
    shares = [f"{100 * model[name]:.0f} %" for name in ("coverage_90", "coverage_50")]
    return [*shares, *(f"{who[f]:.3g}" for f in ("crps", "log_score") for who in (model, other))]


def _pooled(found: Mapping[str, Any]) -> str:
    def said(name: str, scale: float = 1.0, form: str = ".2f") -> str:
        value, low, high = (scale * x for x in (found[name]["value"], *found[name]["groups"]))
        return f"{value:{form}} [{low:{form}}, {high:{form}}]"

    better = found["log_score_better"]["value"] * found["tables"]
    return (
        f"{found['tables']} tables in {found['groups']} groups, [5 %, 95 %] from drawing groups again: "
        f"covered at 90 %: {said('model.coverage_90', 100, '.0f')}, "
        f"at 50 %: {said('model.coverage_50', 100, '.0f')}; CRPS over the "
        f"bootstrap's, geometric mean: {said('crps_ratio_geometric')}; "
        f"log score better on {better:.0f} of {found['tables']} tables\n"
    )


def _distance(one: Mapping[str, Any]) -> str:
    return f"{one['from']:g} to {one['to']:g} times" if one["to"] else f"over {one['from']:g} times"
