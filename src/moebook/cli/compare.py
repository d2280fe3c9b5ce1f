"""The verb `compare`: which posterior predicts better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moebook.bayes import Posterior
    from moebook.bayes.comparison import Comparison

SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the verb `compare`."""
    app.command("compare")(compare)


def compare(
    posteriors: Annotated[list[Path], typer.Argument(help="Folders that `moebook fit` wrote, two or more.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Which of several fits to the same runs predicts better a run, or a budget, that it has not seen.

    Example: moebook compare fits/abnar fits/chinchilla

    elpd: expected log density of a new run, summed over the runs, by leave-one-out; a difference of less than
    about twice its error is none. Weight: share in the best mixture of the fits (stacking). Pareto k above
    .7: a run, or a budget, weighs too much for the stored draws to tell.

    Exit code 1 where a posterior failed a gate.
    """
    from moebook.errors import InputError

    if len(posteriors) < 2:
        raise InputError(f"compare: {posteriors[0]}: alone; needs at least two posteriors")
    from moebook.bayes.comparison import compare as judge

    stored = load_posteriors(posteriors, "compare")
    found = judge(stored)
    if as_json:
        typer.echo(json.dumps(described(found, stored), allow_nan=False))
    else:
        show(found, {name: posterior.law.name for name, posterior in stored.items()})


def load_posteriors(folders: list[Path], verb: str) -> dict[str, Posterior]:
    """Stored posteriors by name: the last part of the folder's path where these differ.

    InputError where a folder is given twice or holds none; exit code 1 where a posterior failed a gate.
    """
    from moebook import bayes
    from moebook.errors import InputError

    names = [str(folder) for folder in folders]
    places = [folder.resolve() for folder in folders]
    if twice := [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]:
        raise InputError(f"{verb}: {twice[-1]}: given twice")
    last = [folder.name for folder in folders]
    if len(set(last)) == len(last) > 1 and all(last):
        names = last  # short enough for a table
    stored = {name: bayes.Posterior.load(folder) for name, folder in zip(names, folders, strict=True)}
    for name, posterior in stored.items():
        try:
            bayes.require_passed(posterior.summary)
        except bayes.FailedPosterior as error:
            typer.echo(f"error: {name}: {error}", err=True)
            raise typer.Exit(1) from None
    return stored


def described(found: Comparison, stored: dict[str, Any]) -> dict[str, Any]:
    """The comparison as JSON values, best first."""
    from moebook.bayes.comparison import TRUSTED_K

    models = []
    for name, loo in found.loo.items():
        folds = [
            {"compute_flops": flops, "runs": runs, "elpd": fold.elpd if fold.trusted else None,
             "pareto_k": finite(fold.pareto_k), "trusted": fold.trusted}
            for fold, flops, runs in zip(
                found.budgets[name], found.budget_flops, found.budget_rows, strict=True
            )
        ]  # fmt: skip
        models.append(
            {
                "posterior": name, "law": stored[name].law.name, "identity": stored[name].identity,
                "elpd": loo.elpd, "elpd_error": loo.error, "difference": found.difference[name],
                "difference_error": found.difference_error[name], "weight": found.weights[name],
                "effective_parameters": loo.effective, "pareto_k_largest": finite(float(loo.pareto_k.max())),
                "doubtful": [
                    {"row": found.rows[i], "pareto_k": finite(float(loo.pareto_k[i]))} for i in loo.doubtful
                ],
                "without_a_budget": folds,
            }
        )  # fmt: skip
    return {"rows": len(found.rows), "pareto_k_limit": TRUSTED_K, "models": models}


def finite(value: float) -> float | None:
    """JSON knows no infinity: a Pareto k that has none is null, and its row doubtful."""
    return value if abs(value) < 1e300 else None


def show(found: Comparison, laws: dict[str, str]) -> None:
    """The comparison for people."""
    from moebook.bayes.comparison import TRUSTED_K
    from moebook.cli.tables import print_table

    rows = [
        [
            name, laws[name], f"{loo.elpd:.1f}", f"{loo.error:.1f}",
            f"{found.difference[name]:.1f}", f"{found.difference_error[name]:.1f}",
            f"{found.weights[name]:.2f}", str(len(loo.doubtful)),
        ]
        for name, loo in found.loo.items()
    ]  # fmt: skip
    titles = ("posterior", "law", "elpd", "error", "difference", "its error", "weight", f"k > {TRUSTED_K:g}")
    print_table(titles, rows, left=2)
    for name, loo in found.loo.items():
        if len(loo.doubtful):
            worst = sorted(loo.doubtful, key=lambda i: -loo.pareto_k[i])
            listed = "; ".join(f"{found.rows[i]} k {loo.pareto_k[i]:.2f}" for i in worst[:SHOWN])
            more = f"; {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
            typer.echo(f"{name}: weighs too much on {listed}{more}: its elpd is too rough to be trusted")
    if not found.budget_flops:
        typer.echo("no budget is left out: the compute of the rows is not known")
        return
    typer.echo("left out by budget: log density of its runs given all others")
    rows = [
        [
            f"{flops:.3g}", str(runs),
            *(f"{fold.elpd:.1f}" if fold.trusted else f"? (k {fold.pareto_k:.2f})"
              for fold in (found.budgets[name][i] for name in found.loo)),
        ]
        for i, (flops, runs) in enumerate(zip(found.budget_flops, found.budget_rows, strict=True))
    ]  # fmt: skip
    print_table(("C (FLOPs)", "runs", *found.loo), rows, left=0)
    if any(not fold.trusted for folds in found.budgets.values() for fold in folds):
        typer.echo(f"?: k above {TRUSTED_K:g}, so that only a fit without that budget can tell")
