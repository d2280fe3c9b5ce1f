"""How fast a fit of Eq. 6 is: beside PyMC's own sampler on the formula as it stands, and at many runs.

`python -m benchmarks.fits` simulates runs of Eq. 6 with noise, prints what it measures, and writes
benchmarks/results/fits/<machine>.json. Effective samples (smallest bulk size over what both have in common)
per CPU-second are compared in turn, each in a process of its own, both compiled before: ours of the whole fit
with gates and checks, PyMC's of the sampling alone. `first` starts with an empty cache, `again` follows in
the same process, `later` is a new process that finds the machine code kept; `first` and `later` count the
imports. Wall seconds are those of this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from moebook import laws
from moebook.files import write_atomic
from moebook.train.environment import environment

RESULTS = Path(__file__).parent / "results" / "fits"
ROWS, MANY = 300, 10_000
TRUTH = {
    "alpha": 0.45, "beta": 0.40, "gamma": 0.25, "lambda": -0.17, "delta": 0.10,
    "a": 55.0, "b": 118.0, "c": 0.3, "d": 6.0, "e": 0.6,
}  # fmt: skip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def simulated(rows: int, seed: int = 0) -> dict[str, list[float]]:
    """Runs of Eq. 6 in the range of small models, with 1 % noise."""
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(9.5, 14.5, rows)), np.exp(rng.uniform(13.5, 17.5, rows))
    s = rng.choice([0.0, 0.5, 0.75, 0.875, 0.9375], rows)
    loss_nats = laws.get("abnar")(TRUTH, n, d, s) * np.exp(0.01 * rng.standard_normal(rows))
    columns = {"params": n, "tokens": d, "sparsity": s, "loss_nats": loss_nats}
    return {name: values.tolist() for name, values in columns.items()}


def measured(cache: str, **asked: Any) -> list[dict[str, Any]]:
    """What benchmarks.one_fit measures in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.one_fit"], input=json.dumps(asked), text=True, check=True,
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], env=os.environ | {"MOEBOOK_CACHE": cache},
    )  # fmt: skip
    return json.loads(ran.stdout.splitlines()[-1])


@app.command()
def main(
    draws: Annotated[int, typer.Option(help="Draws a chain of PyMC's sampler.")] = 500,
    tune: Annotated[int, typer.Option(help="Steps before them.")] = 500,
    many: Annotated[bool, typer.Option(help="Also fit ten thousand runs.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = RESULTS,
) -> None:
    """Measure fits of Eq. 6. Leave the machine alone meanwhile."""
    from benchmarks.__main__ import machine_name

    table = simulated(ROWS)
    found: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as cache:
        found["first"], found["again"] = measured(cache, by="moebook", table=table, times=2)
        found["later"] = measured(cache, by="moebook", table=table, times=1)[0]
        found["pymc"] = measured(cache, by="pymc", table=table, draws=draws, tune=tune)[0]
        rates = {name: found[name]["effective"] / found[name]["cpu_seconds"] for name in ("again", "pymc")}
        found["ratio"] = rates["again"] / rates["pymc"]
        found["environment"] = environment(torch.device("cpu"))
        file = out / f"{machine_name(found['environment']['hardware'])}.json"
        for step in ("few", "many") if many else ("few",):
            if step == "many":
                found["many"] = measured(cache, by="moebook", table=simulated(MANY), times=1)[0]
            write_atomic(file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    for name, value in found.items():
        if name != "environment":
            typer.echo(f"{name}: {value}")
    typer.echo(f"written to {file}")


if __name__ == "__main__":
    app()
