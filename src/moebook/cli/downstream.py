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
    from moebook.downstream import SCORES, read_scores
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
    found = read_scores(runs, text, asked, parse_columns(columns))
    known = [
        s.name for s in SCORES if found.runs.get(s.name) is not None and found.runs[s.name].notna().any()
    ]
    if len(set(asked)) < len(asked):
        raise InputError(f"--score: {score}: names a score twice")
    if not (asked or known):
        raise InputError(f"{runs}: scores: no task has the same questions in all runs")
    answers = [_answer(found, name, interval) for name in asked or known]
    if out is not None:
        write_atomic(out, found.runs.to_csv(index=False).encode())
    if as_json:
        typer.echo(json.dumps({"interval": interval, "scores": answers}, allow_nan=False))
        return
    _show(answers, interval)
    if out is not None:
        typer.echo(f"stored in {out}")


def _answer(found: CommonScores, name: str, interval: float) -> dict[str, Any]:
    """The effects on one score, from dense to the largest sparsity, as JSON types."""
    from moebook.downstream import BESIDE, at_equal_loss, doublings
    from moebook.errors import InputError

    ends = (1 - interval) / 2, (1 + interval) / 2
    answer: dict[str, Any] = {"score": name, "effects": []}
    for beside in BESIDE:
        needs = {"": (), "budget": ("compute_flops",), "width": ("width",)}[beside]
        if not set(needs) <= set(found.runs):
            continue
        try:
            effect = at_equal_loss(found.runs, name, beside, found.items.get(name), found.units(name))
        except InputError as error:
            if not beside:
                raise
            answer["effects"].append({"beside": beside, "why_not": str(error)})
            continue
        whole = effect.doubling.times(float(doublings(effect.sparsity[1]) - doublings(effect.sparsity[0])))
        low, median, high = (whole.quantile(share) for share in (ends[0], 0.5, ends[1]))
        if not beside:
            gain = [effect.by_loss.quantile(share) for share in (ends[0], 0.5, ends[1])]
            answer |= {"sparsity": list(effect.sparsity), "runs": effect.runs, "trunks": effect.trunks, "gain_over_losses": gain,
                       "loss_nats": list(effect.loss_nats)}  # fmt: skip
        answer["effects"].append(
            {"beside": beside, "low": low, "median": median, "high": high, "above_zero": 1 - whole.below(0.0)}
        )
    return answer


def _show(answers: list[dict[str, Any]], interval: float) -> None:
    from moebook.cli.tables import print_table

    rows = []
    for answer in answers:
        for effect in answer["effects"]:
            held = "loss" + (f" and {effect['beside']}" if effect["beside"] else "")
            name = "" if effect["beside"] else answer["score"]
            if "why_not" in effect:
                rows.append([name, held, "not told", "", "", "", ""])
                continue
            spread = f"{effect['low']:+.4f} to {effect['high']:+.4f}"
            rows.append([name, held, f"{effect['median']:+.4f}", spread, f"{effect['above_zero']:.2f}"])
            rows[-1] += ["{:.4g} to {:.4g}".format(*answer["sparsity"]), str(answer["runs"])]
    print_table(
        ("score", "at equal", "effect", f"{100 * interval:g} % interval", "P(above 0)", "S", "runs"), rows, left=2,
        caption="effect: what is added to a score from the smallest to the largest sparsity, at the same loss, in "
        "the score's own unit;\nruns: those whose losses models of the smallest sparsity reach",
    )  # fmt: skip
