"""One fit of Eq. 6 in a process of its own, for benchmarks.fits: by moebook, or by PyMC on the formula.

`python -m benchmarks.one_fit < asked.json` prints what it measured as JSON. Asked are `by` ("moebook" or
"pymc"), `table` (columns), `times` (moebook: fits one after the other), `draws` and `tune` (pymc).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

#: What both parametrisations have in common; the smallest effective sample is taken over these.
COMMON = ("alpha", "beta", "gamma", "lambda", "delta", "noise_scale")


def by_moebook(table: dict[str, list[float]], times: int) -> list[dict[str, Any]]:
    """Fits as `moebook fit` makes them, with gates and checks; the first from the start of the imports."""
    found = []
    for _ in range(times):
        wall, cpu = time.time(), time.process_time()
        import pandas as pd

        from moebook import bayes

        fit = bayes.fit(pd.DataFrame(table), "abnar", progress=False)
        wall, cpu = time.time() - wall, time.process_time() - cpu
        estimates = fit.summary["estimates"]
        effective = min(estimates[name]["ess_bulk"] for name in COMMON)
        found.append({"rows": len(table["loss_nats"]), "wall_seconds": wall, "cpu_seconds": cpu,
                      "effective": effective, "passed": fit.passed})  # fmt: skip
    return found


def by_pymc(table: dict[str, list[float]], draws: int, tune: int) -> list[dict[str, Any]]:
    """Two chains of PyMC's sampler, one after the other; only sampling is timed, once all is compiled.

    It samples the ten raw coefficients, of quantities in units of their geometric means, with priors of
    the same spread as ours and normal noise; it has no misfit: its likelihood is the simpler one. PyTensor
    is as its users have it: with a C compiler where there is one, by Numba where not.
    """
    import arviz as az
    import pymc as pm
    import pytensor

    mode = None if pytensor.config.cxx else "NUMBA"
    settings: dict[str, Any] = {
        "cores": 1, "progressbar": False, "compute_convergence_checks": False, "target_accept": 0.95,
        "random_seed": 0, "compile_kwargs": {"mode": mode} if mode else {},
    }  # fmt: skip
    with raw_model(table):
        pm.sample(draws=1, tune=1, chains=1, **settings)
        wall, cpu = time.time(), time.process_time()
        trace = pm.sample(draws=draws, tune=tune, chains=2, **settings)
        wall, cpu = time.time() - wall, time.process_time() - cpu
    effective = az.ess(trace, var_names=list(COMMON), method="bulk")
    found = {"rows": len(table["loss_nats"]), "wall_seconds": wall, "cpu_seconds": cpu,
             "effective": float(min(effective[name] for name in COMMON)),
             "divergences": int(trace.sample_stats.diverging.sum()), "mode": mode or "C"}  # fmt: skip
    return [found]


def raw_model(table: dict[str, list[float]]) -> Any:
    """Eq. 6 in PyMC, coefficient by coefficient."""
    import pymc as pm

    from moebook import laws

    law = laws.get("abnar")
    columns = [np.array(table[name]) for name in law.columns]
    loss_nats = np.array(table["loss_nats"])
    quantities = law.in_units(law.units(*columns), *columns)
    part = float(loss_nats.mean()) / 4
    with pm.Model() as model:
        k = {name: pm.LogNormal(name, np.log(part), 1.0) for name in ("a", "b", "c", "d", "e")}
        k |= {name: pm.LogNormal(name, np.log(0.35), 0.5) for name in ("alpha", "beta", "gamma")}
        k |= {name: pm.Normal(name, 0.0, 0.3) for name in ("lambda", "delta")}
        sigma = pm.LogNormal("noise_scale", np.log(0.01), 1.0)
        curve = pm.math.log(law(k, *quantities))
        pm.Normal("rows", curve, sigma, observed=np.log(loss_nats))
    return model


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    measure = {"moebook": by_moebook, "pymc": by_pymc}[asked.pop("by")]
    print(json.dumps(measure(**asked)))
