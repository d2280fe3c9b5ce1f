"""Measure this machine, print one table, write benchmarks/results/<machine>.json."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks import experts, gpu, steps, timing
from benchmarks.report import COLUMNS, cpu_table, gpu_table
from moebook.errors import InputError
from moebook.files import check_writable, write_atomic
from moebook.train.environment import environment

RESULTS = Path(__file__).parent / "results"
NOT_MEASURED = "not measured"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def machine_name(hardware: str, card: str = "") -> str:
    """A file's name for the processor, and the GPU if there is one: their words, without trademarks."""
    words = re.sub(r"\([^)]*\)", " ", f"{hardware} {card}").lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def measure(
    rounds: int,
    rows: Sequence[experts.Row] = experts.ROWS,
    widths: Sequence[int] = tuple(steps.BARS),
    counts: Sequence[int] = steps.EXPERTS,
    measure_gpu: Callable[[], dict[str, Any] | None] = gpu.measure_gpu,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Everything that a result holds. `say` is called with a line before each part: nothing is drawn
    meanwhile, for drawing would take CPU time of what is measured."""
    found: dict[str, Any] = {
        "environment": environment(torch.device("cpu")), "rounds": rounds, "load_before": os.getloadavg()[0],
        "measured": datetime.now(UTC).isoformat(timespec="seconds"), "experts": [], "steps": [],
    }  # fmt: skip
    for number, row in enumerate(rows, 1):
        say(f"feed-forward {number} of {len(rows)}")
        found["experts"] += experts.measure((row,), rounds)
    for number, width in enumerate(widths, 1):
        say(f"steps, width {number} of {len(widths)}")
        found["steps"] += steps.measure((width,), tuple(counts), max(1, rounds // 2))
    say("GPU")
    return found | {"gpu": measure_gpu() or NOT_MEASURED}


def store(found: dict[str, Any], out: Path) -> Path:
    """Write a result under the machine's name and return the file's path."""
    card = "" if found["gpu"] == NOT_MEASURED else found["gpu"]["device"]
    path = out / f"{machine_name(found['environment']['hardware'], card)}.json"
    write_atomic(path, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return path


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=1, help="Turns that everything compared gets.")] = 15,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Measure this machine by ratios within one run. Leave it alone meanwhile: five minutes."""
    check_writable(out)
    timing.one_core()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice on symbols that we do not have
    found = measure(rounds, say=lambda line: print(line, file=sys.stderr, flush=True))
    console = Console(width=COLUMNS, highlight=False)
    console.print(cpu_table(found["experts"], found["steps"]))
    console.print("GPU: not measured" if found["gpu"] == NOT_MEASURED else gpu_table(found["gpu"]))
    console.print(str(store(found, out)), soft_wrap=True)


def main() -> None:
    """Run the command; input that cannot be used ends in one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
