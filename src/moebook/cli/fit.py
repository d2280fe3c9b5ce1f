"""The verb `fit`: a table of runs in, a stored posterior out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moebook.bayes import Request

MOST_DRAWS = 1_000_000


def register(app: typer.Typer) -> None:
    """Add the verb `fit`."""
    app.command("fit")(fit)


def fit(
    table: Annotated[
        Path,
        typer.Argument(help="Your runs: .csv, .tsv, .parquet, .jsonl, W&B's export; or a folder of records."),
    ],
    law: Annotated[
        str | None,
        typer.Option(help="The law to fit; default: abnar where sparsity varies, else chinchilla."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for posterior.nc, summary.json and report.html; needed.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="Names in your table, as in params=N,tokens=D,sparsity=S,loss=loss; common ones are known."
        ),
    ] = "",
    flops_per_token: Annotated[
        str,
        typer.Option(help="Where D comes from C, or C from D: 6N, 6NA (active parameters) or a column."),
    ] = "",
    text: Annotated[str, typer.Option(help="With a folder of records: only runs on this text.")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Decides every draw.")] = 0,
    draws: Annotated[
        int, typer.Option(min=4, max=MOST_DRAWS, help="Draws a chain; four times as many if a gate fails.")
    ] = 1000,
    tune: Annotated[
        int, typer.Option(min=1, max=MOST_DRAWS, help="Steps a chain takes to tune itself before them.")
    ] = 600,
    robust: Annotated[
        bool, typer.Option("--robust", help="Noise with heavy tails, for tables with odd runs; slower.")
    ] = False,
    group: Annotated[
        str, typer.Option(help="Column whose values share an offset of the loss: recipe, corpus, source.")
    ] = "",
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            help="Column x that moves log loss by a x + b x^2; answers are for x = 0. Again for more. "
            "For a learning rate: log2 of its ratio to the one you would choose."
        ),
    ] = None,
    noise_by_compute: Annotated[
        bool, typer.Option("--noise-by-compute", help="Let runs of larger budgets have other noise; slower.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Replace a different posterior in --out.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would be read and what is odd about it; fit nothing.")
    ] = False,
    skip_blank: Annotated[
        bool, typer.Option("--skip-blank", help="Leave out, and count, runs that lack a number.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fit a scaling law to runs, yours or the stored ones, and keep the posterior.

    Example: moebook fit runs.csv --law chinchilla --columns params=N,tokens=D,loss=loss --out my-fit

    Says first which column became what, and what is odd about the table: --check says that and stops. Runs
    that a column of states calls unfinished are left out and counted.

    Then: moebook forecast my-fit --at params=1e9,tokens=2e10

    Exit code 1 where the posterior failed a gate: it is stored as failed, and answers nothing.
    """
    from moebook.errors import InputError

    if out is None and not check:
        raise InputError("fit: --out: missing: the folder for the posterior")
    names = parse_columns(columns)
    from moebook import bayes, laws
    from moebook.bayes.columns import choose_law
    from moebook.bayes.quantities import without_blanks
    from moebook.bayes.stored import read_runs
    from moebook.figures.report import REPORT_FILE, report
    from moebook.files import write_atomic

    rows, source, excluded = read_runs(table, text)
    law, why = (law, "") if law else choose_law(rows, names, source)
    chosen = laws.get(law)
    if skip_blank:
        rows, blank = without_blanks(rows, chosen, names, source)
        excluded |= {"with a blank": blank} if blank else {}
    settings = {
        "columns": names, "seed": seed, "source": source, "flops_per_token": flops_per_token,
        "sampler": bayes.Sampler(draws=draws, tune=tune),
        "priors": bayes.Priors(tail_limit=0.5 if robust else 0.0),
        "wanted": bayes.Wanted(group, tuple(covariate or ()), noise_by_compute),
    }  # fmt: skip
    asked = bayes.request(rows, chosen, **settings)
    if out is not None:
        refuse_other(out, asked.identity, force)
    say_reading(asked, excluded, why)
    if check:
        return
    posterior = bayes.fit(rows, chosen, **settings, excluded=excluded)
    posterior.save(out)
    typer.echo("report", err=True)
    write_atomic(out / REPORT_FILE, report(posterior, source, "moebook " + shlex.join(sys.argv[1:])))
    if as_json:
        typer.echo(json.dumps(posterior.summary, allow_nan=False))
    else:
        show(posterior.summary, out)
    if not posterior.passed:
        raise typer.Exit(1)


def parse_columns(text: str) -> dict[str, str]:
    """`params=N,loss=L` as a dict; InputError where it is not of this form."""
    from moebook.errors import InputError

    names: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not (field and equals and column):
            raise InputError(f"--columns: {part}: must look like params=N")
        if field in names:
            raise InputError(f"--columns: {field}: given twice")
        names[field] = column
    return names


def refuse_other(out: Path, expected: str, force: bool) -> None:
    """InputError where `out` holds a posterior of another identity, or other files, unless forced."""
    from moebook import bayes
    from moebook.errors import InputError
    from moebook.files import check_writable

    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder for a posterior")
    check_writable(out)
    if force or not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / "summary.json").is_file():
        raise InputError(f"{out}: holds other files; choose a new folder, or --force")
    stored = bayes.read_summary(out)["identity"]
    if stored != expected:
        raise InputError(
            f"{out}: holds posterior {stored[:12]}, this would be {expected[:12]}; "
            "choose another --out, or replace it with --force"
        )


def say_reading(asked: Request, excluded: dict[str, int], why: str = "") -> None:
    """Which column became what, what was derived, what is odd: on standard error, before the long work."""
    from moebook.bayes.stored import left_out

    rows = asked.rows
    lines = [f"{rows.source}: {len(rows)} runs{left_out(excluded)}"]
    lines += [f"  {found.text()}" for found in rows.points.found]
    lines += [f"  {line}" for line in rows.points.derived]
    lines += [f"law: {asked.law.name}{f' ({why})' if why else ''}"]
    lines += [f"{'note' if doubt.note else 'warning'}: {doubt.says}" for doubt in asked.doubts]
    typer.echo("\n".join(lines), err=True)


def show(summary: dict[str, Any], out: Path) -> None:
    """The estimates, the gates and the verdict, for people."""
    from moebook.bayes.checks import extremes
    from moebook.bayes.sensitivity import COUNTS_FROM
    from moebook.bayes.stored import left_out
    from moebook.cite import in_digits
    from moebook.cli.tables import print_table

    def cells(name: str, e: dict[str, Any]) -> list[str]:
        numbers = [in_digits(e[q], e[f"mcse_{q}"]) for q in ("q05", "q50", "q95")]
        return [name, *numbers, f"{e['ess_bulk']:.0f}", "yes" if e["identified"] else "not identified"]

    rows = [cells(name, estimate) for name, estimate in summary["estimates"].items()]
    print_table(("quantity", "5 %", "median", "95 %", "effective", "by the data"), rows, left=1)
    gates = [[g["name"], g["demand"], f"{g['value']:.4g}", g["worst"], "passed" if g["passed"] else "FAILED"]
             for g in summary["gates"]]  # fmt: skip
    print_table(("gate", "must be", "worst", "at", ""), gates, left=2)
    check = summary["checks"]["posterior_predictive"]
    covered = f"90 % intervals cover {100 * check['coverage']['90']:.0f} % of them"
    if moved := summary.get("sensitivity"):
        names = [name for name, found in moved.items() if found["prior"] > COUNTS_FROM]
        typer.echo(f"other priors would move: {', '.join(names) or 'nothing'} (power-scaling)")
    if by_compute := summary.get("noise_by_compute"):
        falls, rises = (sum(p for h, p in by_compute.items() if h[0] == sign and float(h)) for sign in "+-")
        typer.echo(f"noise: falls with compute with probability {falls:.2f}, rises with {rises:.2f}")
    if odd := extremes(check["p_values"]):
        listed = ", ".join(f"{name} (p {p:.3f})" for name, p in odd.items())
        typer.echo(f"warning: something is left over, which data made by the model seldom show: {listed}")
    typer.echo(
        f"{summary['rows']} runs{left_out(summary['excluded'])}; {covered}.\n"
        f"{summary['law']}: {summary['status']}; identity {summary['identity']}\n"
        f"stored in {out}; to look at: {out / 'report.html'}"
    )


def runs_folders() -> list[Path]:
    """Where what is stored is looked for: MOEBOOK_RUNS, or the working folder's `runs` and the checkout's."""
    import os

    named = os.environ.get("MOEBOOK_RUNS")
    checkout = Path(__file__).resolve().parents[3] / "runs"
    return [Path(named)] if named else [Path("runs"), checkout]


def default_posterior() -> Path:
    """The posterior that questions go to unless told otherwise: `english` if stored, else the only one."""
    from moebook.errors import InputError

    for runs in runs_folders():
        stored = sorted(path.parent for path in (runs / "posteriors").glob("*/summary.json"))
        english = [path for path in stored if path.name == "english"]
        if english or len(stored) == 1:
            return (english or stored)[0]
        if stored:
            raise InputError(f"--posterior: missing: there are {', '.join(str(path) for path in stored)}")
    raise InputError("--posterior: missing: none is stored under runs/posteriors; `moebook fit` makes one")
