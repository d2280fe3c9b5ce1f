"""The verb `calibrate`: does the inference find the truths that it simulates?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moebook.bayes.calibrations import Calibration

QUIET_SECONDS = 20.0


def register(app: typer.Typer) -> None:
    """Add the verb `calibrate`."""
    app.command("calibrate")(calibrate)


def calibrate(
    law: Annotated[str, typer.Argument(help="The law, as in `moebook fit --law`.")],
    design: Annotated[
        str,
        typer.Option(help="Where simulated runs lie: a table, a folder of records, or `grid`."),
    ] = "grid",
    fits: Annotated[int, typer.Option(min=1, help="Simulations; what --out holds already counts.")] = 500,
    out: Annotated[Path, typer.Option(help="Folder for LAW.json.")] = Path("runs/calibration"),
    jobs: Annotated[int, typer.Option(min=1, help="Processes; each compiles the law, a minute.")] = 1,
    columns: Annotated[str, typer.Option(help="Names in your table, as for fit.")] = "",
    text: Annotated[str, typer.Option(help="With a folder of records: only runs on this text.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Decides every truth, its runs and the draws.")] = 0,
    robust: Annotated[bool, typer.Option("--robust", help="Noise with heavy tails; slower.")] = False,
    plant: Annotated[
        str,
        typer.Option(help="A bug to find: noise (twice what the fit believes), prior (flat), misfit (none)."),
    ] = "",
    figure: Annotated[Path | None, typer.Option(help="Write the rank plots there, as in ranks.svg.")] = None,
    force: Annotated[bool, typer.Option(help="Begin anew where --out holds another calibration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tests as JSON.")] = False,
) -> None:
    """Simulation-based calibration: draw truths from the prior, runs from each truth, fit them, and see
    whether the truths have uniform ranks among the posterior draws.

    Example: moebook calibrate abnar --design runs --text english --fits 500 --jobs 2

    Of a right inference the 50 % interval holds the truth in half of the fits, and so for every level and
    every quantity: totals, coefficients, forecasts inside and beyond the runs, S* and the likelihood. A
    p-value asks of each whether its ranks are uniform (ECDF, chi-square; Holm's correction for all of them).

    A fit takes seconds; each is kept as it ends, and a run that was stopped goes on where it was. To see
    what a bug looks like: moebook calibrate chinchilla --fits 100 --plant noise --out elsewhere

    Exit code 1 where the ranks of a quantity are not uniform.
    """
    from moebook import laws
    from moebook.errors import InputError
    from moebook.files import check_writable

    chosen = laws.get(law)
    if figure is not None and figure.suffix not in (".svg", ".pdf", ".png"):
        raise InputError(f"calibrate: --figure: {figure}: must end in .svg, .pdf or .png")
    if figure is not None:
        check_writable(figure.parent)  # now, not after the fits
    from moebook.bayes import Priors
    from moebook.bayes.calibration import Chains, Setup
    from moebook.bayes.calibrations import calibrate as run
    from moebook.bayes.designs import GRID, design_of, grid_of
    from moebook.bayes.plants import plant_of
    from moebook.bayes.stored import read_runs
    from moebook.bayes.tested import standard
    from moebook.cli.fit import parse_columns
    from moebook.optimum.calibration import best_sparsity

    bug = plant_of(plant)
    if design == GRID:
        if columns or text:
            raise InputError("calibrate: --design: grid: has no columns and no text to choose")
        rows = grid_of(chosen)
    else:
        table, source, _ = read_runs(Path(design), text)
        rows = design_of(table, chosen, parse_columns(columns), source)
    quantities = (*standard(chosen, rows), *best_sparsity(chosen, rows))
    priors = Priors(tail_limit=0.5 if robust else 0.0)
    setup = Setup(law, rows, priors, Chains(), seed, quantities, bug)
    path = out / f"{law}{f'-{plant}' if plant else ''}.json"
    with fits_progress(f"calibrating {law}") as on_fit:
        found = run(setup, fits, path, jobs=jobs, force=force, on_fit=on_fit)
    if figure is not None:
        from moebook.figures.calibration import rank_plots

        figure.parent.mkdir(parents=True, exist_ok=True)
        rank_plots(found.ranks, found.ranked, found.rejected).savefig(figure, dpi=150)
    if as_json:
        typer.echo(json.dumps({**found.summary(), "file": str(path)}, allow_nan=False))
    else:
        show(found, path)
    if found.rejected:
        raise typer.Exit(1)


def show(found: Calibration, path: Path) -> None:
    """The tests and what they say, for people."""
    from moebook.bayes.calibrations import LEVEL
    from moebook.cli.tables import print_table

    rows = [
        [name, f"{u.ecdf:.4f}", f"{u.chi_square:.4f}", f"{u.corrected:.4f}",
         "NOT UNIFORM" if u.corrected < LEVEL else ""]
        for name, u in found.uniformity.items()
    ]  # fmt: skip
    print_table(("quantity", "ECDF", "chi-square", "corrected", ""), rows, left=1)
    counts = ", ".join(f"{name} {count}" for name, count in found.failed.items())
    typer.echo(
        f"{len(found.fits)} fits of {found.rows} runs ({found.design}), {found.cpu_seconds:.2f} CPU-s each; "
        f"failed a gate, and in the ranks all the same: {counts}"
    )
    wrong = ", ".join(found.rejected)
    typer.echo(f"not calibrated: {wrong}" if wrong else f"no rank tells against uniform at {LEVEL:g}")
    typer.echo(f"{path}, identity {found.identity}")


@contextmanager
def fits_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (fits done, fits in all) that shows them and the time left, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from moebook.cli.tables import duration

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )  # fmt: skip
        with Progress(*columns, console=console, speed_estimate_period=600) as progress:
            task = progress.add_task(label, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    began: tuple[float, int] | None = None
    said = 0.0

    def say(done: int, total: int) -> None:
        nonlocal said, began
        now = time.monotonic()
        began = began or (now, done)
        if now - said < QUIET_SECONDS and done < total:
            return
        said = now
        start, had = began
        left = f", {duration((total - done) * (now - start) / (done - had))} left" if done > had else ""
        console.print(f"{label}: fit {done} of {total}{left}", highlight=False)

    yield say
