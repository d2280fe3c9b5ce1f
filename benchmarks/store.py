"""How a large store of runs does: list, check and load into a table at 1e3, 1e4 and 1e5 records.

`python -m benchmarks.store` makes synthetic records in a temporary folder, prints a table and writes
benchmarks/results/store/<machine>.json. Seconds of CPU time, which other work on the machine moves least; of
interest is how they grow. Not part of `make bench`: a hundred thousand files take a few minutes to make.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import machine_name
from moebook.architecture import Family
from moebook.files import write_atomic
from moebook.runs import Problem, Record, Store, frame, read_rows
from moebook.train import NUMERICS, Recipe, RunConfig, TextIdentity, run_measures
from moebook.train.environment import environment

SIZES = (1_000, 10_000, 100_000)
RESULTS = Path(__file__).parent / "results" / "store"
#: What is timed, in this order: the name, and whether the store is as another process finds it at first.
STEPS = {
    "read_all": "every record, parsed", "first_rows": "rows, nothing kept yet", "rows": "rows, as kept",
    "check": "every byte checked", "table": "pandas table", "get": "one run by key",
}  # fmt: skip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def make_store(root: Path, records: int) -> Store:
    """A store of so many runs that nobody made: one of each seed, every tenth diverged."""
    model, recipe = Family().config(32, 0.75), Recipe()
    found = environment(torch.device("cpu"))
    folder = root / "records" / "made"
    folder.mkdir(parents=True)
    points = [1 + i * i for i in range(64)]
    for seed in range(records):
        config = RunConfig(model, recipe, TextIdentity("made", "ab" * 32), 512_000, seed)
        loss_nats = 2 + (seed * 7919 % 10_007) / 1e5
        losses = {"loss_nats": loss_nats, "loss_stderr_nats": 0.01, "bits_per_byte": loss_nats / 0.6931}
        done = seed % 10 != 9
        record = Record(
            config.to_dict(), NUMERICS, "done" if done else "diverged", study="made",
            measures=run_measures(config) | (losses if done else {}),
            reason="" if done else "the training loss is nan nats at step 7",
            curve={"tokens": points, "loss_nats": [round(2 + 3 / p, 5) for p in points]},
            cost={"wall_seconds": 20.0, "tokens_per_second": 25_600.0}, environment=found,
            finished="2026-01-01T00:00:00+00:00",
        )  # fmt: skip
        (folder / f"{record.key}.json").write_text(record.to_json())
    return Store(root)


def measure(store: Store) -> dict[str, Any]:
    """CPU seconds of each of STEPS, and bytes of the records and of what is kept of them."""
    problems: list[Problem] = []
    seconds = {
        "read_all": _cpu_seconds(lambda: store.load()),
        "first_rows": _cpu_seconds(lambda: read_rows(store)),
        "rows": _cpu_seconds(lambda: read_rows(store)),
        "check": _cpu_seconds(lambda: read_rows(store, problems=problems, every_byte=True)),
    }
    assert not problems, problems[0]
    rows = read_rows(store)
    seconds["table"] = _cpu_seconds(lambda: frame(rows))
    seconds["get"] = _cpu_seconds(lambda: store.get(rows[len(rows) // 2]["key"]))
    size = sum(path.stat().st_size for path in store.records.glob("*/*.json"))
    kept = store.root / ".cache" / "rows.json"
    return {"records": len(rows), "bytes": size, "kept_bytes": kept.stat().st_size if kept.exists() else 0,
            "cpu_seconds": seconds}  # fmt: skip


def _cpu_seconds(step: Callable[[], object]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def table(found: Sequence[dict[str, Any]]) -> Table:
    """A row for each size, CPU seconds for each step."""
    made = Table(title="A store of runs, CPU seconds", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("records", "MB", *STEPS.values()):
        made.add_column(heading, justify="right")
    for each in found:
        seconds = (f"{each['cpu_seconds'][name]:.3g}" for name in STEPS)
        made.add_row(f"{each['records']:,}", f"{each['bytes'] / 1e6:.0f}", *seconds)
    return made


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    largest: Annotated[int, typer.Option(min=1000, help="Records of the largest store.")] = SIZES[-1],
) -> None:
    """Measure stores of 1e3, 1e4 and 1e5 records."""
    found = []
    for size in (size for size in SIZES if size <= largest):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(make_store(Path(folder), size)))
    Console(width=110, highlight=False).print(table(found))
    machine = environment(torch.device("cpu"))
    path = out / f"{machine_name(machine['hardware'])}.json"
    write_atomic(path, json.dumps({"environment": machine, "stores": found}, indent=1) + "\n")
    typer.echo(str(path))


if __name__ == "__main__":
    app()
