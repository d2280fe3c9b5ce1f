"""The verb `downstream`: does sparsity change a score, where the loss is the same?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moebook.downstream import CommonScores


def register(app: typer.Typer) -> None:
    """Add the verb `downstream`."""
    app.command("downstream")(downstream)


def downstream(
    runs: Annotated[Path, typer.Argument(help="Folder of records, or a table of yours.")] = Path("runs"),
    text: Annotated[str, typer.Option(help="Only runs on this text, as in english.")] = "",
    score: Annotated[
        str, typer.Option(help="Scores, as in words_seen,blimp; of a table of yours, its columns.")
    ] = "",
    columns: Annotated[
        str, typer.Option(help="Names in your table, as in loss=val_loss,sparsity=s,width=d_model.")
    ] = "",
    interval: Annotated[float, typer.Option(help="Probability inside an interval.")] = 0.9,
    out: Annotated[Path | None, typer.Option(help="Write the scores that were compared, a CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Whether sparsity changes what a model can do, where its loss is the same.

    Example: moebook downstream runs --text english

    Example: moebook downstream mine.csv --score mmlu,triviaqa --columns loss=val_loss

    Each score is taken as a smooth function of the loss plus a term in doublings of E/K. What is printed is
    that term from dense to the largest sparsity: its median, its interval, and how probable it is to be above
    zero; then again among runs of one budget, and of one width, since at equal loss a sparse model is
    narrower and has been trained for less. Stored runs are compared on the items that all of them were asked.
    """
    from moebook.cli.fit import parse_columns
    from moebook.downstream import read_scores
    from moebook.errors import InputError
    from moebook.files import check_writable, write_atomic

    if not 0 < interval < 1:
        raise InputError(f"downstream: --interval: {interval:g}: must lie between 0 and 1")
    if out is not None:
        if out.suffix != ".csv":
            raise InputError(f"--out: {out}: must end in .csv")
        if out.exists() and out.resolve() == runs.resolve():
            raise InputError(f"--out: {out}: is the table that is read")
        check_writable(out.parent)
    asked = [name.strip() for name in score.split(",") if name.strip()]
    if len(set(asked)) < len(asked):
        raise InputError(f"--score: {score}: names a score twice")
    found = read_scores(runs, text, asked, parse_columns(columns))
    typer.echo("\n  ".join(found.notes), err=True)
    if not (names := asked or list(found.items)):
        raise InputError(f"{runs}: scores: no task has the same questions in all runs")
    answers = [_answer(found, name, interval) for name in names]
    if out is not None:
        write_atomic(out, found.runs.to_csv(index=False))
    if as_json:
        typer.echo(json.dumps({"interval": interval, "scores": answers}, allow_nan=False))
        return
    _show(answers, interval)
    if out is not None:
        typer.echo(f"stored in {out}")


def _answer(found: CommonScores, name: str, interval: float) -> dict[str, Any]:
    """The effects on one score, from dense to the largest sparsity, as JSON types."""
    import numpy as np

    from moebook.downstream import BESIDE, at_equal_loss, doublings
    from moebook.errors import InputError

    low, high = (1 - interval) / 2, (1 + interval) / 2
    answer: dict[str, Any] = {"score": name, "effects": []}
    for beside, column in BESIDE.items():
        if column and column not in found.runs:
            continue
        try:
            effect = at_equal_loss(found.runs, name, beside, found.items.get(name), found.units(name))
        except InputError as error:
            if not beside:
                raise
            answer["effects"].append({"beside": beside, "why_not": str(error)})
            continue
        whole = effect.doubling.times(float(np.diff(doublings(effect.sparsity))[0]))
        if not beside:
            answer |= {
                "sparsity": list(effect.sparsity), "loss_nats": list(effect.loss_nats),
                "runs": effect.runs, "trunks": effect.trunks,
                "gain_over_losses": [effect.by_loss.quantile(share) for share in (low, 0.5, high)],
            }  # fmt: skip
        answer["effects"].append(
            {"beside": beside, "low": whole.quantile(low), "median": whole.quantile(0.5),
             "high": whole.quantile(high), "above_zero": 1 - whole.below(0.0)}
        )  # fmt: skip
    return answer


def _show(answers: list[dict[str, Any]], interval: float) -> None:
    from moebook.cli.tables import print_table

    rows, why_not = [], []
    for answer in answers:
        for effect in answer["effects"]:
            held = "loss" + (f" and {effect['beside']}" if effect["beside"] else "")
            if "why_not" in effect:
                why_not.append(f"{answer['score']}, at equal {held}: not told: {effect['why_not']}")
                continue
            rows.append([
                "" if effect["beside"] else answer["score"], held, f"{effect['median']:+.4f}",
                f"{effect['low']:+.4f} to {effect['high']:+.4f}", f"{effect['above_zero']:.2f}",
                "{:.4g} to {:.4g}".format(*answer["sparsity"]), str(answer["runs"]),
            ])  # fmt: skip
    names = ("score", "at equal", "effect", f"{100 * interval:g} % interval", "P(above 0)", "S", "runs")
    print_table(
        names, rows, left=2,
        caption="effect: what is added to a score from the smallest to the largest sparsity, at the same "
        "loss, in its own unit;\nruns: those whose losses models of the smallest sparsity reach",
    )  # fmt: skip
    for line in why_not:
        typer.echo(line)
