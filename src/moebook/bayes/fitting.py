"""From a table to a posterior: rows, model, sampling, gates, checks, summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr
from rich.console import Console
from threadpoolctl import threadpool_limits

from moebook import laws
from moebook.bayes import checks, gates
from moebook.bayes.data import LOSS
from moebook.bayes.discrepancy import Basis, axis, fitted_basis
from moebook.bayes.model import build, conditional_weights, data_of
from moebook.bayes.posterior import Posterior
from moebook.bayes.priors import Priors
from moebook.bayes.request import Request, Sampler, request

SCALES = ("discrepancy_scale", "noise_scale", "tail")
IDENTIFIED_FROM = 0.5  # a quantity is identified where the data at least halve the prior's spread


def fit(
    table: pd.DataFrame | Path | str,
    law: laws.Law | str,
    *,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    chains: int | None = None,
    draws: int | None = None,
    tune: int | None = None,
    priors: Priors | None = None,
    sampler: Sampler | None = None,
    source: str = "table",
    excluded: Mapping[str, int] | None = None,
    flops_per_token: str = "",
    progress: bool = True,
) -> Posterior:
    """Fit a law to a table of runs; the same input and seed give the same bits on the same CPU.

    table: a DataFrame or a file (`moebook.bayes.reading.read_table`) with a row a run; runs that a column of
    statuses calls unfinished are left out and counted;
    law: a Law or its name; columns: {params, tokens, sparsity, loss, ...: column of the table}, recognised
    by their names where left out; flops_per_token: `6N`, `6NA` or a column, to make D from C;
    chains, draws, tune: instead of those of `sampler`; source: what messages call the table;
    excluded: {reason: count} of runs left out before, kept in the summary;
    progress: say on standard error what is going on.

    A posterior that fails a gate is returned with status `failed`, for `require_passed` to refuse.
    Raises InputError naming source, row, field and value where the table cannot be used.
    """
    given = {"chains": chains, "draws": draws, "tune": tune}
    sampler = replace(sampler or Sampler(), **{k: v for k, v in given.items() if v is not None})
    asked = request(
        table, law, columns=columns, seed=seed, priors=priors, sampler=sampler, source=source,
        flops_per_token=flops_per_token,
    )  # fmt: skip
    law, rows, priors = asked.law, asked.rows, asked.priors
    values = rows.ordered(law)
    units = law.units(*values)
    basis = fitted_basis(law.columns, values, priors.pairs, priors.length_median, priors.length_spread)
    data = data_of(law, values, rows.loss_nats, units, basis)
    with _say(progress, f"compiling {law.name}"):
        model, compiled = compiled_model(law, priors, basis.rotation.shape[1])
    with model:
        pm.set_data(data)  # where chains start, and the prior, must not hang on an earlier fit's rows
    trace = _sample(compiled.with_data(**data), sampler, asked.seed, progress)
    with _say(progress, "prior draws, gates and checks"):
        prior = _draw_prior(model, law, priors, sampler, asked.seed)
        return _assemble(trace, prior, asked, units, basis, {**asked.excluded, **(excluded or {})})


_COMPILED: dict[tuple[Any, ...], tuple[pm.Model, Any]] = {}


def compiled_model(law: laws.Law, priors: Priors, functions: int) -> tuple[pm.Model, Any]:
    """A law's model and its compiled form, which takes any rows (`data_of`); made once in a process."""
    key = (law.function, law.totals, priors, functions)
    if key not in _COMPILED:
        model = build(law, priors, functions)
        weights = ["discrepancy_weights"] if priors.robust else []
        _COMPILED[key] = model, nutpie.compile_pymc_model(model, var_names=[*_scalars(law, priors), *weights])
    return _COMPILED[key]


def _scalars(law: laws.Law, priors: Priors) -> tuple[str, ...]:
    """Names of a posterior's numbers: totals and scales."""
    return (*law.totals, *(SCALES if priors.robust else SCALES[:2]))


def _sample(compiled: Any, sampler: Sampler, seed: int, progress: bool) -> az.InferenceData:
    """Draws of nutpie; one BLAS thread a chain, so that neither speed nor bits hang on the load."""
    bar = progress and sys.stderr.isatty()
    said = f"sampling {sampler.chains} chains of {sampler.tune} + {sampler.draws}"
    with threadpool_limits(1), _say(progress and not bar, said):
        return nutpie.sample(
            compiled,
            draws=sampler.draws,
            tune=sampler.tune,
            chains=sampler.chains,
            cores=min(sampler.chains, os.cpu_count() or 1),
            seed=seed,
            target_accept=sampler.target_accept,
            save_warmup=False,
            progress_bar=bar,
        )


def _draw_prior(
    model: pm.Model, law: laws.Law, priors: Priors, sampler: Sampler, seed: int
) -> xr.Dataset:
    """The stored scalars drawn from the prior [chain = 1, draw]."""
    names = _scalars(law, priors)
    with model:
        drawn = pm.draw([model[name] for name in names], draws=sampler.prior_draws, random_seed=seed)
    return xr.Dataset(
        {n: (("chain", "draw"), np.asarray(d, np.float32)[None]) for n, d in zip(names, drawn, strict=True)}
    )


def _assemble(
    trace: az.InferenceData,
    prior: xr.Dataset,
    asked: Request,
    units: dict[str, float],
    basis: Basis,
    excluded: dict[str, int],
) -> Posterior:
    """Judge the whole trace, thin it, and describe it."""
    law, rows, sampler, seed = asked.law, asked.rows, asked.sampler, asked.seed
    scalars = list(_scalars(law, asked.priors))
    full = {name: trace.posterior[name].values for name in scalars}
    cited = {**full, **_coefficients(law, full, units)}
    mixed = {}
    if asked.priors.robust:
        weights = trace.posterior["discrepancy_weights"].values
        mixed = {f"discrepancy_weights[{i}]": weights[:, :, i] for i in range(weights.shape[2])}
    judged = gates.judge(cited, mixed, trace.sample_stats.diverging.values, trace.sample_stats.energy.values)

    kept = np.unique(
        np.linspace(0, sampler.draws - 1, min(sampler.stored, sampler.draws)).round().astype(int)
    )
    thinned = xr.Dataset(
        {n: (("chain", "draw"), trace.posterior[n].values[:, kept].astype(np.float32)) for n in scalars}
    )
    drawn = weights[:, kept] if asked.priors.robust else _drawn_weights(thinned, asked, units, basis)
    thinned["discrepancy_weights"] = ("chain", "draw", "function"), drawn.astype(np.float32)
    thinned = thinned.assign_coords(chain=np.arange(sampler.chains), draw=np.arange(len(kept)))
    constant = xr.Dataset(
        {
            "centre": ("axis", basis.centre),
            "scale": ("axis", basis.scale),
            "frequencies": (("pair", "axis"), basis.frequencies),
            "rotation": (("raw_function", "function"), basis.rotation),
        }
    )
    constant["row_number"] = ("row", rows.points.numbers.astype(np.int32))
    if rows.points.compute_flops is not None:
        constant["compute_flops"] = ("row", rows.points.compute_flops)
    observed = xr.Dataset({n: ("row", v) for n, v in {**rows.columns, LOSS: rows.loss_nats}.items()})
    summary = {
        "format": 1,
        "law": law.name,
        "identity": asked.identity,
        "ingredients": asked.ingredients,
        "status": "passed" if all(gate.passed for gate in judged) else "failed",
        "gates": [asdict(gate) for gate in judged],
        "rows": len(rows),
        "excluded": excluded,
        **asked.reading(),
        "units": units,
        "ranges": {
            n: [float(v.min()), float(v.max())] for n, v in {**rows.columns, LOSS: rows.loss_nats}.items()
        },
    }
    data = az.InferenceData(posterior=thinned, prior=prior, constant_data=constant, observed_data=observed)
    posterior = Posterior(data, summary)
    curve = {
        g: np.log(posterior.surface(**rows.columns, group=g)(slice(None))) for g in ("prior", "posterior")
    }
    before = curve["prior"] + posterior.noise(len(rows), "prior", seed)
    noisy = curve["posterior"] + posterior.noise(len(rows), "posterior", seed)
    axes = {name: axis(name, v) for name, v in rows.columns.items()}
    summary["checks"] = {
        "prior_predictive": checks.prior_predictive(before, rows.loss_nats),
        "posterior_predictive": checks.posterior_predictive(curve["posterior"], noisy, rows.loss_nats, axes),
    }
    prior_full = {name: prior[name].values for name in scalars}
    prior_full |= _coefficients(law, {n: v.astype(float) for n, v in prior_full.items()}, units)
    summary["estimates"] = {n: _estimate(n, law, draws, prior_full[n]) for n, draws in cited.items()}
    return posterior


def _drawn_weights(
    draws: xr.Dataset, asked: Request, units: dict[str, float], basis: Basis
) -> np.ndarray:
    """The misfit's weights [chains, draws, functions], which sampling left out, from their distribution."""
    law, values = asked.law, asked.rows.ordered(asked.law)
    flat = {name: draws[name].values.astype(float).reshape(-1) for name in draws.data_vars}
    totals = {name: flat[name][:, None] for name in law.totals}
    curve = law(law.from_totals(totals), *law.in_units(units, *values))
    residual = np.log(asked.rows.loss_nats) - np.log(curve)
    tau, sigma = flat["discrepancy_scale"], flat["noise_scale"]
    weights = conditional_weights(basis(*values), residual, tau, sigma, asked.seed)
    return weights.reshape(draws.sizes["chain"], draws.sizes["draw"], -1)


def _coefficients(
    law: laws.Law, totals: Mapping[str, np.ndarray], units: dict[str, float]
) -> dict[str, np.ndarray]:
    """Raw coefficients that are not totals themselves, and what they make together."""
    raw = law.rescale(law.from_totals(totals), units)
    return {name: values for name, values in raw.items() if name not in totals}


def _estimate(name: str, law: laws.Law, draws: np.ndarray, prior: np.ndarray) -> dict[str, Any]:
    """Location, spread, precision and what the data taught; draws and prior [chains, draws]."""
    logs = name in law.power_of or name in SCALES  # these span decades: their spread is one of logs
    spread = (np.log(prior), np.log(draws)) if logs else (prior, draws)
    contraction = checks.contraction(*spread)
    quantiles = {f"q{p:02d}": float(np.percentile(draws, p)) for p in (5, 25, 50, 75, 95)}
    return {
        **quantiles,
        "mean": float(draws.mean()),
        "sd": float(draws.std()),
        "mcse_q05": float(az.mcse(draws, method="quantile", prob=0.05)),
        "mcse_q50": float(az.mcse(draws, method="median")),
        "mcse_q95": float(az.mcse(draws, method="quantile", prob=0.95)),
        "ess_bulk": float(az.ess(draws, method="bulk")),
        "ess_tail": float(az.ess(draws, method="tail")),
        "rhat": float(az.rhat(draws)),
        "contraction": contraction,
        "identified": contraction >= IDENTIFIED_FROM,
    }


@contextmanager
def _say(progress: bool, what: str) -> Iterator[None]:
    """What goes on, on standard error: a spinner on a terminal, one line elsewhere."""
    console = Console(stderr=True)
    if progress and console.is_terminal:
        with console.status(what):
            yield
        return
    if progress:
        console.print(what, highlight=False)
    yield
