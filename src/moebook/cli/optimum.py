"""The verb `optimum`: the best sparsity for a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moebook.optimum import BestSize, Optimum


def register(app: typer.Typer) -> None:
    """Add the verb `optimum`."""
    app.command("optimum")(optimum)


def optimum(
    compute: Annotated[float, typer.Option(help="Training budget C in FLOPs, as in 1e13.")],
    params: Annotated[float | None, typer.Option(help="Fix the size N; else the best size is taken.")] = None,
    posterior: Annotated[
        Path | None, typer.Option(help="Folder that `moebook fit` wrote; default: the stored one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """The sparsity of lowest loss at a budget, with its uncertainty.

    Example: moebook optimum --compute 1e12

    Where the posterior saw no choice of sparsities, the best size alone.

    Exit code 1 where the posterior failed a gate.
    """
    from moebook import bayes
    from moebook.cli.fit import default_posterior
    from moebook.errors import InputError
    from moebook.optimum import best_size, no_choice_of_sparsity
    from moebook.optimum import optimum as best

    for name, value, least, most in (("--compute", compute, 1e6, 1e30), ("--params", params, 1e2, 1e16)):
        if value is not None and not least <= value <= most:
            raise InputError(f"optimum: {name}: {value}: must lie between {least:g} and {most:g}")
    folder = posterior or default_posterior()
    stored = bayes.Posterior.load(folder)
    why = no_choice_of_sparsity(stored)
    if why and params is not None:
        raise InputError(
            f"optimum: --params: {params:g}: {why}, so that nothing is left to choose; "
            f"moebook forecast {folder} says the loss of a size"
        )
    try:
        found = best_size(stored, compute) if why else best(stored, compute, params)
    except bayes.FailedPosterior as error:
        typer.echo(f"error: {folder}: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({**found.summary(), "posterior": str(folder)}, allow_nan=False))
    else:
        (show_size if why else show)(found, folder)


def show(found: Optimum, folder: Path) -> None:
    """The optimum for people: intervals, edges, verdict, where it comes from."""
    from moebook.cite import in_digits
    from moebook.cli.tables import compact, print_table

    names = {
        "sparsity_star": "sparsity S*", "params_star": "parameters N", "params_active_star": "active N_a",
        "tokens_star": "tokens D", "loss_star_nats": "loss, nats",
    }  # fmt: skip

    def cells(name: str) -> list[str]:
        error = found.monte_carlo_error(name)
        ends = (*found.interval(0.5, name), *found.interval(0.9, name))
        counts = name not in ("sparsity_star", "loss_star_nats")
        spell = compact if counts else lambda value: in_digits(value, error, most=4)
        median, a, b, c, d = (spell(value) for value in (found.median(name), *ends))
        return [names[name], median, f"{a} .. {b}", f"{c} .. {d}"]

    size = f", N = {compact(found.params)}" if found.params else ""
    titles = (f"C = {found.compute_flops:.4g} FLOPs{size}", "median", "50 % interval", "90 % interval")
    print_table(titles, [cells(name) for name in names], left=1)
    says = {
        "sparsity_low": "dense (S = 0)",
        "sparsity_high": f"largest fitted S = {found.sparsity_grid[-1]:.4g}",
        "width_low": "smallest width", "width_high": "largest width",
    }  # fmt: skip
    edges = ", ".join(f"{says[name]} {100 * share:.0f} %" for name, share in found.edge.items())
    typer.echo(f"mass at the edges: {edges}")
    if found.extrapolation > 1:
        typer.echo(f"extrapolation: the budget lies {found.extrapolation:.3g} times beyond the fitted runs")
    for name, share in found.outside.items():
        if share > 0.05:
            typer.echo(f"extrapolation: in {100 * share:.0f} % of the draws {name} leave the fitted range")
    typer.echo(f"{found.verdict}\nposterior {folder}, identity {found.identity}")


def show_size(found: BestSize, folder: Path) -> None:
    """The best size for people, and why it is all that can be said."""
    from moebook.cite import in_digits
    from moebook.cli.tables import compact, print_table

    names = {"params_star": "parameters N", "tokens_star": "tokens D", "loss_star_nats": "loss, nats"}

    def cells(name: str) -> list[str]:
        error = found.monte_carlo_error(name)
        spell = (lambda value: in_digits(value, error, most=4)) if name == "loss_star_nats" else compact
        middle = found.summary()[name]["median"]
        a, b, c, d = map(spell, (*found.interval(0.5, name), *found.interval(0.9, name)))
        return [names[name], spell(middle), f"{a} .. {b}", f"{c} .. {d}"]

    typer.echo(f"{found.why}: no sparsity can be named; the best size can")
    titles = (f"C = {found.compute_flops:.4g} FLOPs", "median", "50 % interval", "90 % interval")
    print_table(titles, [cells(name) for name in names], left=1)
    low, high = found.flops_ends
    spread = f", the fitted runs' own mean ({low:.3g} to {high:.3g})" if high > 1.001 * low else ""
    typer.echo(f"tokens by C = {found.flops_per_param_token:.3g} N D{spread}")
    edges = (("smallest", found.edge["params_low"]), ("largest", found.edge["params_high"]))
    typer.echo("mass at the edges: " + ", ".join(f"{what} size {100 * share:.0f} %" for what, share in edges))
    if found.extrapolation > 1:
        typer.echo(f"extrapolation: the budget lies {found.extrapolation:.3g} times beyond the fitted runs")
    typer.echo(f"{found.verdict}\nposterior {folder}, identity {found.identity}")
