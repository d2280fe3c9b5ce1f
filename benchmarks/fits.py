"""How fast a fit of Eq. 6 is: beside PyMC's own sampler on the formula as it stands, and at many runs.

`python -m benchmarks.fits` simulates runs of Eq. 6 with noise, prints what it measures, and writes
benchmarks/results/fits/<machine>.json. Effective samples (smallest bulk size over what both have in common)
per CPU-second are compared in one process, in turn, both compiled before: ours of the whole fit, with gates
and checks, PyMC's the sampling alone. Wall seconds are those of this machine.

PyMC's side samples the ten raw coefficients, of quantities in units of their geometric means, with priors of
the same spread, and normal noise; it has no misfit, so that its likelihood is the simpler one.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from moebook import bayes, laws
from moebook.files import write_atomic

RESULTS = Path(__file__).parent / "results" / "fits"
ROWS, MANY = 300, 10_000
COMMON = ("alpha", "beta", "gamma", "lambda", "delta", "noise_scale")
TRUTH = {
    "alpha": 0.45, "beta": 0.40, "gamma": 0.25, "lambda": -0.17, "delta": 0.10,
    "a": 55.0, "b": 118.0, "c": 0.3, "d": 6.0, "e": 0.6,
}  # fmt: skip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def simulated(rows: int, seed: int = 0) -> Any:
    """Runs of Eq. 6 in the range of small models, with 1 % noise."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(9.5, 14.5, rows)), np.exp(rng.uniform(13.5, 17.5, rows))
    s = rng.choice([0.0, 0.5, 0.75, 0.875, 0.9375], rows)
    loss = laws.get("abnar")(TRUTH, n, d, s) * np.exp(0.01 * rng.standard_normal(rows))
    return pd.DataFrame({"params": n, "tokens": d, "sparsity": s, "loss_nats": loss})


def ours(table: Any, **sampler: int) -> dict[str, Any]:
    """One fit as `moebook fit` makes it: wall and CPU seconds, smallest effective sample, gates."""
    wall, cpu = time.time(), time.process_time()
    found = bayes.fit(table, "abnar", progress=False, **sampler)
    estimates = found.summary["estimates"]
    return {
        "rows": len(table), "wall_seconds": time.time() - wall, "cpu_seconds": time.process_time() - cpu,
        "effective": min(estimates[name]["ess_bulk"] for name in COMMON), "passed": found.passed,
    }  # fmt: skip


def raw_model(table: Any) -> Any:
    """Eq. 6 in PyMC, coefficient by coefficient."""
    import pymc as pm

    law = laws.get("abnar")
    columns = [table[name].to_numpy() for name in law.columns]
    quantities = law.in_units(law.units(*columns), *columns)
    part = float(table["loss_nats"].mean()) / 4
    with pm.Model() as model:
        k = {name: pm.LogNormal(name, np.log(part), 1.0) for name in ("a", "b", "c", "d", "e")}
        k |= {name: pm.LogNormal(name, np.log(0.35), 0.5) for name in ("alpha", "beta", "gamma")}
        k |= {name: pm.Normal(name, 0.0, 0.3) for name in ("lambda", "delta")}
        sigma = pm.LogNormal("noise_scale", np.log(0.01), 1.0)
        curve = pm.math.log(law(k, *quantities))
        pm.Normal("rows", curve, sigma, observed=np.log(table["loss_nats"].to_numpy()))
    return model


def theirs(table: Any, draws: int, tune: int) -> dict[str, Any]:
    """PyMC's own NUTS, two chains one after the other; sampling alone is timed."""
    import arviz as az
    import pymc as pm

    with raw_model(table):
        pm.sample(draws=1, tune=1, chains=1, cores=1, progressbar=False, compute_convergence_checks=False)
        wall, cpu = time.time(), time.process_time()
        trace = pm.sample(
            draws=draws, tune=tune, chains=2, cores=1, random_seed=0, target_accept=0.95, progressbar=False,
            compute_convergence_checks=False,
        )  # fmt: skip
    effective = az.ess(trace, var_names=list(COMMON), method="bulk")
    return {
        "rows": len(table), "wall_seconds": time.time() - wall, "cpu_seconds": time.process_time() - cpu,
        "effective": float(min(effective[name] for name in COMMON)),
        "divergences": int(trace.sample_stats.diverging.sum()),
    }  # fmt: skip


@app.command()
def main(
    draws: Annotated[int, typer.Option(help="Draws a chain of PyMC's sampler.")] = 500,
    tune: Annotated[int, typer.Option(help="Steps before them.")] = 500,
    many: Annotated[bool, typer.Option(help="Also fit ten thousand runs.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = RESULTS,
) -> None:
    """Measure fits of Eq. 6. Leave the machine alone meanwhile."""
    from benchmarks.__main__ import machine_name
    from moebook.train.environment import environment

    table = simulated(ROWS)
    found: dict[str, Any] = {"load_before": os.getloadavg()[0], "first": ours(table), "again": ours(table)}
    found["pymc"] = theirs(table, draws, tune)
    rates = {name: found[name]["effective"] / found[name]["cpu_seconds"] for name in ("again", "pymc")}
    found["ratio"] = rates["again"] / rates["pymc"]
    if many:
        found["many"] = ours(simulated(MANY))
    import torch

    found["environment"] = environment(torch.device("cpu"))
    for name, value in found.items():
        if name != "environment":
            typer.echo(f"{name}: {value}")
    file = out / f"{machine_name(found['environment']['hardware'])}.json"
    write_atomic(file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    typer.echo(f"written to {file}")


if __name__ == "__main__":
    app()
