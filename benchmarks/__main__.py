"""Measure this machine, print one table a part, write benchmarks/results/<machine>.json."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import experts, gpu, steps, timing
from moebook.files import write_atomic
from moebook.train.environment import environment

RESULTS = Path(__file__).parent / "results"
NOT_MEASURED = "not measured"


def machine_name(found: dict[str, Any]) -> str:
    """A file's name for the processor: words of its name, without trademarks."""
    words = re.sub(r"\([^)]*\)", " ", found["hardware"]).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def verdict(met: bool) -> str:
    """A cell of the last column."""
    return "[green]pass[/]" if met else "[red]miss[/]"


def experts_table(rows: list[dict[str, Any]]) -> Table:
    """Feed-forwards: ours beside the dense twin and the peer."""
    table = Table(title="Feed-forward, forward and backward: CPU time over plain dense of equal active FLOPs")
    for name in ("tokens, d, f, E, K", "dense ms", "our dense", "ours", "transformers", "eager", "floor", "bar"):
        table.add_column(name, justify="right")
    table.add_column("bar met")
    table.add_column("faster than transformers")
    for row in rows:
        shape, ratio = row["shape"], row["ratio"]
        cells = ", ".join(str(shape[k]) for k in ("tokens", "width", "expert_width", "experts", "active"))
        numbers = (ratio["our dense"], ratio["ours"], ratio["transformers"], ratio["transformers eager"])
        table.add_row(
            cells, f"{row['cpu_seconds']['dense'] * 1e3:.1f}", *(f"{n:.2f}" for n in numbers),
            f"{row['floor']:.2f}", f"{row['bar']:.2f}", verdict(row["met"]), verdict(row["met_transformers"]),
        )  # fmt: skip
    return table


def steps_table(rows: list[dict[str, Any]]) -> Table:
    """Whole training steps."""
    table = Table(title="Training step: useful FLOPs over those of a square product, and speed over transformers")
    for name in ("width", "E", "ms", "GFLOP/s", "share", "bar", "tokens/s over transformers", "bar "):
        table.add_column(name, justify="right")
    table.add_column("share")
    table.add_column("speed")
    for row in rows:
        table.add_row(
            str(row["width"]), str(row["experts"]), f"{row['cpu_seconds']['ours'] * 1e3:.1f}",
            f"{row['useful_gflops']:.0f}", f"{row['share']:.2f}", f"{row['bar']:.2f}", f"{row['faster']:.2f}",
            f"{row['peer_bar']:.2f}", verdict(row["met"]), verdict(row["met_peer"]),
        )  # fmt: skip
    return table


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns that everything compared gets.")] = 15,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Measure this machine by ratios within one run. Leave it alone meanwhile: five minutes."""
    timing.one_core()
    console = Console()
    load_before = os.getloadavg()[0]
    found = environment(torch.device("cpu"))
    measured: dict[str, Any] = {"experts": experts.measure(rounds=rounds)}
    console.print(experts_table(measured["experts"]))
    measured["steps"] = steps.measure(rounds=max(1, rounds // 2))
    console.print(steps_table(measured["steps"]))
    measured["gpu"] = gpu.measure_gpu() or NOT_MEASURED
    if measured["gpu"] == NOT_MEASURED:
        console.print("GPU: not measured (no CUDA device)")
    else:
        console.print_json(data=measured["gpu"])
    head = {
        "environment": found, "rounds": rounds, "load_before": load_before,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    path = out / f"{machine_name(found)}.json"
    write_atomic(path, json.dumps(head | measured, indent=1) + "\n")
    console.print(str(path))


if __name__ == "__main__":
    typer.run(main)
