"""From a table to a posterior: rows, model, sampling; `assembly` does the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
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
from moebook.bayes import identity, reduced
from moebook.bayes.assembly import assemble
from moebook.bayes.compiled import compiled_model
from moebook.bayes.effects import Wanted
from moebook.bayes.gates import Gate, too_few
from moebook.bayes.interrupt import ended_by_ctrl_c
from moebook.bayes.model import DIMS, LEVEL, LOSS, Form, build, prior_variables
from moebook.bayes.posterior import Posterior
from moebook.bayes.prepared import Prepared
from moebook.bayes.priors import Priors
from moebook.bayes.request import Request, Sampler, request


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
    wanted: Wanted | None = None,
    progress: bool = True,
) -> Posterior:
    """Fit a law to a table of runs; the same input and seed give the same bits on the same CPU.

    table: a DataFrame or a file (`moebook.bayes.reading.read_table`) with a row a run; runs that a column of
    statuses calls unfinished are left out and counted;
    law: a Law or its name; columns: {params, tokens, sparsity, loss, ...: column of the table}, recognised
    by their names where left out; flops_per_token: `6N`, `6NA` or a column, to make D from C;
    chains, draws, tune: instead of those of `sampler`; source: what messages call the table;
    excluded: {reason: count} of runs left out before, kept in the summary;
    wanted: groups of rows, covariates and noise that changes with compute, by columns of the table;
    progress: say on standard error what is going on.

    A posterior that fails a gate is returned with status `failed`, for `require_passed` to refuse.
    Raises InputError naming source, row, field and value where the table cannot be used.
    """
    given = {"chains": chains, "draws": draws, "tune": tune}
    sampler = replace(sampler or Sampler(), **{k: v for k, v in given.items() if v is not None})
    asked = request(
        table, law, columns=columns, seed=seed, priors=priors, sampler=sampler, source=source,
        flops_per_token=flops_per_token, wanted=wanted,
    )  # fmt: skip
    law, priors = asked.law, asked.priors
    made = Prepared.of(law, asked.rows, priors)
    data = made.data(law, asked.rows)
    model = build(law, priors, made.form)
    with model:  # all of the rows that a prior looks at
        pm.set_data({LEVEL: data[LEVEL]})
    with _say(progress, "prior draws"):
        prior = _draw_prior(model, law, priors, made.form, sampler, asked.seed)
    few = None
    if len(asked.rows) >= identity.MANY and reduced.reducible(priors, made.form):
        with _say(progress, f"finding rows that stand for all {len(asked.rows):,}"):
            totals = {name: prior[name].values[0] for name in law.totals}
            few = reduced.reduction(law, made.units, totals, seen(data))
    excluded = {**asked.excluded, **(excluded or {})}
    for reduction in (few, None) if few else (None,):
        with _say(progress, f"compiling {law.name}"):
            compiled = _compiled(asked, made, data, reduction)
        attempt: tuple[int, int, float] | None = sampler.first
        while attempt:
            if attempt != sampler.first and progress:
                Console(stderr=True).print("a gate failed: once more, with more draws", highlight=False)
            trace = _sample(compiled, sampler.chains, *attempt, asked.seed, progress)
            exact = reduction is None or _is_exact(reduction, trace)
            if not exact:
                break
            with _say(progress, "gates and checks"):
                posterior = assemble(trace, prior, asked, made, excluded)
            short = too_few([Gate(**gate) for gate in posterior.summary["gates"]])
            attempt = None if posterior.passed else sampler.after(attempt, short)
        if exact:
            break
        if progress:
            Console(stderr=True).print("they do not: once more, with all rows", highlight=False)
    return posterior


def _compiled(
    asked: Request, made: Prepared, data: Mapping[str, np.ndarray], reduction: reduced.Reduction | None
) -> Any:
    """The compiled model with the rows, or with what stands for them."""
    law, priors = asked.law, asked.priors
    model, compiled = compiled_model(law, priors, made.form, reduced=reduction is not None)
    with model:  # where chains start must not hang on an earlier fit's rows
        pm.set_data({LEVEL: data[LEVEL]})
    if reduction:
        return compiled.with_data(**reduction.data)
    return compiled.with_data(**(data if priors.robust else seen(data)))


def _is_exact(reduction: reduced.Reduction, trace: az.InferenceData) -> bool:
    """Whether nodes stand for all rows where the chains have been."""
    draws = {n: v.values.ravel() for n, v in trace.posterior.data_vars.items() if v.ndim == 2}
    some = np.linspace(0, draws["noise_scale"].size - 1, 200).round().astype(int)
    draws = {name: values[some] for name, values in draws.items()}
    return reduction.worst_change(draws) < reduced.CHANGE


def seen(data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model's data without the misfit's functions that no row sees: half of them, and of the time.

    Their columns are orthogonal, and what is integrated out of a column of length zero is nothing: leaving
    out a square s moves the log density by about tau^2 s / sigma^2. Squares grow with the rows, so that of
    many rows a smaller share may go.
    """
    found = dict(data)
    rows = len(data[LOSS])
    share = 1e-10 if rows < identity.MANY else 1e-8 / rows
    for name in [name for name in data if name.startswith("squares_")]:
        number = name.removeprefix("squares_")
        kept = data[name] > share * data[name].max()
        found[name] = data[name][kept]
        found[f"basis_{number}"] = np.ascontiguousarray(data[f"basis_{number}"][:, kept])
        if "basis_of_level" in data:
            found["basis_of_level"] = data["basis_of_level"][kept]
    return found


def _sample(
    compiled: Any, chains: int, tune: int, draws: int, target_accept: float, seed: int, progress: bool
) -> az.InferenceData:
    """Draws of nutpie; one BLAS thread a chain, so that neither speed nor bits hang on the load.

    The coefficients of a law are correlated; a mass matrix of a diagonal and a few directions halves the
    steps of a draw.
    """
    bar = progress and sys.stderr.isatty()
    said = f"sampling {chains} chains of {tune} + {draws}"
    with ended_by_ctrl_c(), threadpool_limits(1), _say(progress and not bar, said):
        return nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=min(chains, os.cpu_count() or 1),
            seed=seed,
            target_accept=target_accept,
            low_rank_modified_mass_matrix=True,
            save_warmup=False,
            progress_bar=bar,
        )


def _draw_prior(
    model: pm.Model, law: laws.Law, priors: Priors, form: Form, sampler: Sampler, seed: int
) -> xr.Dataset:
    """The stored numbers drawn from the prior [chain = 1, draw, ...]."""
    variables = prior_variables(model, law, priors, form)
    with model:
        drawn = pm.draw(list(variables.values()), draws=sampler.prior_draws, random_seed=seed)
    return xr.Dataset(
        {
            name: (("chain", "draw", *DIMS.get(name, ())), np.asarray(values, np.float32)[None])
            for name, values in zip(variables, drawn, strict=True)
        }
    )


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
