"""The verb `study`: plan, run and follow many runs."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moebook.cli.study_end import counts, end, never_scored, tell_what_lacks
from moebook.cli.tuning import tune

if TYPE_CHECKING:
    from moebook.study import Opened

NameArgument = Annotated[str, typer.Argument(help="A study of the folder studies, or a path to a .yml file.")]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where the text's files are, for a text from a folder.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that holds, or will hold, `records`.")]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers", min=0,
        help="Processes, each with a run of its own; 0 = one a core. On a CUDA GPU they share the card, "
             "and 0 is at most 8: small models leave most of it idle.",
    ),
]  # fmt: skip
OnlyOption = Annotated[
    list[str], typer.Option("--only", help="Only these cells: budget|sparsity|width|seed|key=VALUE[,VALUE].")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with the texts of a study's `scores`, up to two levels down; what is "
                 "not there is downloaded by checksum, or recorded as not measured."),
]  # fmt: skip
RetryOption = Annotated[bool, typer.Option("--retry", help="Run failed and diverged cells again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


#: A study that takes longer than this is not meant for this machine: 30 days.
TOO_LONG_SECONDS = 30 * 86_400


def register(app: typer.Typer) -> None:
    """Add the verb `study`."""
    study = typer.Typer(
        no_args_is_help=True, help="Many runs: plan them, run what is missing, see what is done."
    )
    study.command("plan")(plan_study)
    study.command("run")(run_study)
    study.command("status")(study_status)
    study.command("tune")(tune)
    app.add_typer(study, name="study")


def plan_study(
    name: NameArgument,
    folder: FolderOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = 0,
    only: OnlyOption = (),
    out: Annotated[
        Path | None, typer.Option(help="Also write the cells to a CSV, as `moebook forecast --at` reads it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print every cell, its FLOPs and expected minutes, and what the whole costs; runs nothing.

    Example: moebook study plan quick --only budget=3e10

    Example: moebook study plan held-out-english --out cells.csv
    """
    opened, costs = _open(name, folder, runs, workers, only)
    if out is not None:
        from moebook.study.opened import write_cells

        write_cells(out, opened.report(costs)["cells"])
    if as_json:
        typer.echo(json.dumps(opened.report(costs), allow_nan=False))
        return
    from moebook.cli.tables import compact, print_table

    rows = [
        [
            f"{row.budget_flops:.3g}", f"{row.model.sparsity:.5g}", str(row.model.experts),
            f"{row.model.active}" + (f"+{row.model.shared_experts}" if row.model.shared_experts else ""),
            str(row.model.granularity), str(row.model.width), compact(row.params), compact(row.params_active),
            compact(row.tokens), compact(row.steps), f"{row.compute_flops:.3g}",
            f"{row.recipe.learning_rate:.3g}", compact(row.recipe.batch_sequences * row.model.context),
            f"{row.seconds / 60:.2f}", f"{row.done}/{row.cells}",
        ]
        for row in opened.rows(costs)
    ]  # fmt: skip
    names = (
        "budget", "S", "E", "K", "G", "width", "N", "N_a", "D", "steps", "C", "rate", "batch", "min", "done",
    )  # fmt: skip
    print_table(
        names, rows, left=0,
        caption="C in FLOPs, D and batch in tokens; K+1: a shared expert; rate: of the recipe; "
                "min: of one process, all seeds",
    )
    whole = (costs.flops, costs.whole_seconds, costs.whole_process_seconds, costs.whole_record_bytes,
             costs.whole_checkpoint_bytes)  # fmt: skip
    missing = (costs.missing_flops, costs.seconds, costs.process_seconds, costs.record_bytes,
               costs.checkpoint_bytes)  # fmt: skip
    for line in (
        f"{costs.cells} runs in {len(opened.trunks)} trunks, {costs.missing} of them missing",
        f"all: {_cost(*whole, costs.workers)}",
        f"missing: {_cost(*missing, costs.workers) if costs.missing else 'nothing'}",
        f"{costs.separate_flops:.3g} FLOPs in all if each run stood alone; {costs.evaluation_share:.0%} of "
        "all process time is evaluation",
        f"({opened.rates.source})",
        *_too_long_here(opened, costs),
        *never_scored(opened.never_scored()),
    ):
        typer.echo(line)


def _cost(flops: float, seconds: float, process_seconds: float, kept: int, passing: int, workers: int) -> str:
    """What runs cost, in a line; `kept` and `passing` are bytes of records and of checkpoints."""
    from moebook.cli.tables import compact, duration

    return (
        f"{flops:.3g} FLOPs of training; {duration(seconds)} expected with {workers} processes, "
        f"{duration(process_seconds)} of process time; {compact(kept)}B of records stay, up to "
        f"{compact(passing)}B of checkpoints while it runs"
    )


def _too_long_here(opened: Opened, costs: Any) -> list[str]:
    """A line where a study is far beyond this machine's processor."""
    if opened.cuda or costs.whole_seconds < TOO_LONG_SECONDS:
        return []
    return ["these speeds are those of this machine's processor; a GPU is another matter"]


def run_study(
    name: NameArgument,
    folder: FolderOption = None,
    runs: RunsOption = Path("runs"),
    workers: WorkersOption = 0,
    only: OnlyOption = (),
    retry: RetryOption = False,
    limit_minutes: Annotated[
        float | None, typer.Option("--limit-minutes", help="Stop then; another run goes on.", min=0)
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="On a CUDA GPU, compile each model and capture its "
                           "step; without, runs begin sooner.")
    ] = True,
    on: Annotated[
        str, typer.Option("--on", help="`local`: processes of this machine; `ray`: tasks of a Ray cluster, "
                          "whose nodes see the folders --runs and --folder, and have moebook installed.")
    ] = "local",
    address: Annotated[
        str, typer.Option("--address", help="Of the Ray cluster, as in 10.0.0.1:6379; without it that of "
                          "RAY_ADDRESS, or a cluster of this machine alone.")
    ] = "",
    per_gpu: Annotated[int, typer.Option("--per-gpu", min=1, help="On Ray: runs that share a GPU.")] = 8,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="Between two checkpoints of a run; what is "
                            "killed repeats no more than this.")
    ] = 60.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run what is missing, longest first, one process a core; can be stopped and taken up again.

    Several may run on one folder at one time, on one machine or many that share it: no run is made twice.

    On a CUDA GPU, --workers runs share the card. They take turns on it, unless NVIDIA's multi-process service
    (nvidia-cuda-mps-control) has been started, which lets their kernels run side by side.

    Exit code 1 if a run failed, now or before, 130 if stopped by Ctrl-C. A run that diverged is a result.

    Example: moebook study run quick --limit-minutes 10
    """
    from moebook.errors import InputError
    from moebook.files import check_writable
    from moebook.study import Display, Job, LocalPool, default_workers, run_trunks

    if on not in ("local", "ray"):
        raise InputError(f"study run: --on: {on!r}: must be local or ray")
    if address and on != "ray":
        raise InputError(f"study run: --address: {address!r}: only with --on ray")
    if data is not None and not data.is_dir():
        raise InputError(f"study run: --data: {data}: no such folder")
    check_writable(runs)
    opened, costs = _open(name, folder, runs, workers, only, retry, needs_text=True)
    if taken := opened.take_over():
        typer.echo(f"{taken} runs that were made for another purpose are cells of this study too", err=True)
    trunks = opened.missing(retry)
    job = Job(
        opened.study.name, opened.study.text, folder, runs, runs / "work", retry, compiled,
        checkpoint_seconds, scores=opened.study.scores, data=data, purpose=opened.study.purpose,
    )  # fmt: skip
    if not trunks:
        report = {"asked": 0, "stopped": "", "failures": []} | counts(opened)
        end(report, as_json, 0.0)
        return
    tell_what_lacks(job)
    pool: Any = LocalPool
    if on == "ray":
        from moebook.study.ray import RayPool

        pool = functools.partial(RayPool, address=address, per_gpu=per_gpu)
    else:
        workers = workers or default_workers(opened.cuda)
    try:
        with Display(opened.study.name) as display:
            state = run_trunks(
                trunks, costs.trunk_seconds, job, workers,
                None if limit_minutes is None else 60 * limit_minutes, display, pool,
            )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(
            "stopped; what was done is stored, the rest keeps its checkpoints: run again to go on", err=True
        )
        raise typer.Exit(130) from None
    failures = [
        {"trunk": trunk.name, "width": trunk.model.width, "sparsity": trunk.model.sparsity}
        | {"seed": trunk.seed, "reason": reason}
        for trunk, reason in state.failures
    ]
    opened = opened.again()
    report = {"asked": state.cells, "stopped": state.stopped, "failures": failures} | counts(opened)
    end(report, as_json, time.monotonic() - state.started)


def study_status(
    name: NameArgument,
    folder: FolderOption = None,
    runs: RunsOption = Path("runs"),
    only: OnlyOption = (),
    as_json: JsonOption = False,
) -> None:
    """Say how many of a study's runs are done, diverged, failed, missing, and which trunks are in work.

    Those of any driver on any machine that shares the folder: steps, loss, machine and process.

    Example: moebook study status quick --json
    """
    from moebook.study import standing_of

    opened, costs = _open(name, folder, runs, 0, only)
    report = standing_of(opened, costs, runs / "work")
    if as_json:
        typer.echo(json.dumps(report, allow_nan=False))
        return
    from moebook.cli.tables import duration, print_table

    names = ("done", "diverged", "failed", "missing")
    typer.echo(
        f"{report['study']}: " + ", ".join(f"{report[n]} {n}" for n in names) + f" of {report['cells']} runs"
    )
    typer.echo(
        f"{report['running_trunks']} trunks in work; {report['flops_left']:.3g} FLOPs left, expected "
        f"{duration(report['seconds_left'])} with {report['workers']} processes"
    )
    rows = [
        [
            str(t["width"]), f"{t['sparsity']:.5g}", str(t["seed"]), f"{t['steps_done']}/{t['steps']}",
            "" if t["loss_nats"] is None else f"{t['loss_nats']:.3f}", f"{t['host']} {t['pid']}",
            f"{t['silent_seconds']:.0f} s",
        ]
        for t in report["running"]
    ]  # fmt: skip
    if rows:
        print_table(("width", "S", "seed", "step", "loss", "on", "heard of"), rows, left=0)


def _open(
    name: str,
    folder: Path | None,
    runs: Path,
    workers: int,
    only: list[str],
    retry: bool = False,
    needs_text: bool = False,
) -> tuple[Opened, Any]:
    from moebook.study import open_study

    opened = open_study(name, folder, runs, only, needs_text)
    return opened, opened.costs(workers, retry)
