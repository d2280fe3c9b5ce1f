"""Forecasts of tables from rolling origins, scored; each result kept as it is made, nothing fitted twice.

The file `forecasts.json`, one result a line:

    format    1
    complete  whether every origin that was asked for is there
    summary   what `scoring.summary` makes of the results, null until complete
    results   [{
        key         of the rows, the model and the code that scores: nothing else decides the result
        table, group, law
        level_of    what origins roll over: compute_flops, or the size that a token uses
        level       the origin: rows of up to this level are fitted, those above are asked for
        kind        inner or top (`moebook.bayes.origins`)
        fitted, asked   numbers of rows
        identity    of the posterior
        fit         {status, divergences, rhat, rhat_of, efmi, ess_bulk, ess_tail}: its gates, passed or not
        point_fit   {rmse of log10 loss, agreeing: share of its starts that ended there, left_out: bootstraps
                    whose forecast is no number}
        points      {rows: number in the table; beyond: factor above the largest level's largest row;
                    top: whether of the top; model, bootstrap: {pit, crps, log_score} of log loss: [asked]}
    }]

Posteriors are kept in a folder, by identity, so that a change of the scores needs no fit either.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moebook.bayes import bootstrap, mixture, point, scoring
from moebook.bayes.columns import LOSS
from moebook.bayes.families import Table
from moebook.bayes.identity import plain
from moebook.bayes.origins import Origin, levels_of, origins, refuse_leaks
from moebook.bayes.posterior import Posterior
from moebook.bayes.priors import Priors
from moebook.bayes.quantities import Points
from moebook.bayes.request import Sampler, request
from moebook.errors import InputError
from moebook.files import cache_folder, canonical_json, check_writable, sha256_hex, write_atomic

RESULTS_FILE = "forecasts.json"
FORMAT = 1
#: What turns a posterior into scores; what is then made of these is made anew each time.
_CODE = (bootstrap, mixture, point, scoring.scores)
Say = Callable[[str], None]


#: Of every origin's fit. All is stated, so that other defaults for a fit leave stored scores as they are.
SAMPLER = Sampler(
    chains=4, draws=700, tune=600, target_accept=0.95, again=4, again_target_accept=0.985, stored=700,
    prior_draws=1000,
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How every origin is fitted. most: inner origins of a table at most; by default all; seed: of fits and
    bootstraps; fits: folder in which posteriors are kept, by default in the cache."""

    sampler: Sampler = SAMPLER
    priors: Priors = field(default_factory=Priors)
    seed: int = 0
    most: int | None = None
    fits: Path | None = None


@dataclass(frozen=True)
class Task:
    """One origin of one table, with the key of its result."""

    table: Table
    origin: Origin
    points: Points
    level_of: str
    sizes: np.ndarray
    identity: str
    key: str

    def said(self) -> str:
        """For people."""
        kind = "top" if self.origin.kind == "top" else "origin"
        return f"{self.table.name}, {kind} {self.origin.level:.3g}"


def score(
    tables: Sequence[Table],
    out: Path | None = None,
    settings: Settings | None = None,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Score tables and return what `forecasts.json` in the folder `out` then holds (nothing is written
    without it). What that file has of the same key is taken from there; what it has of other tables stays.
    Raises InputError naming table, row and field where one cannot be used, before any fit."""
    settings = settings or Settings()
    if out is not None:
        check_writable(out)
    path = None if out is None else out / RESULTS_FILE
    known = {result["key"]: result for result in stored_results(path)}
    tasks = [task for table in tables for task in tasks_of(table, settings)]
    missing = [task for task in tasks if task.key not in known]
    say(f"{len(tasks)} origins of {len(tables)} tables, {len(tasks) - len(missing)} known")
    for number, task in enumerate(missing, 1):
        say(f"{number} of {len(missing)}: {task.said()}: {len(task.origin.fitted)} runs fitted")
        known[task.key] = result = score_origin(task, settings)
        say(f"    {_verdict(result)}")
        if path is not None:
            write_atomic(path, _text(list(known.values()), None))
    names = {table.name for table in tables}
    others = [result for result in known.values() if result["table"] not in names]
    results = [*others, *(known[task.key] for task in tasks)]
    answer = {"format": FORMAT, "complete": True, "summary": scoring.summary(results), "results": results}
    if path is not None:
        write_atomic(path, _text(results, answer["summary"]))
    return answer


def tasks_of(table: Table, settings: Settings) -> Iterator[Task]:
    """The origins of a table, smallest first."""
    points = table.points()
    level_of, sizes = table.sizes(points)
    sizes = np.asarray(sizes)
    least = len(table.law.coefficients) + 1
    code = {part.__name__: sha256_hex(inspect.getsource(part)) for part in _CODE}
    for origin in origins(levels_of(sizes), table.source, least, settings.most):
        asked = points.take(origin.asked)
        parts = {
            "posterior": _request(table, origin, settings).identity,
            "asked": [[float(x).hex() for x in v] for v in (*asked.columns.values(), asked.loss_nats)],
            "sizes": [float(x).hex() for x in sizes],
            "named": [table.name, table.group, origin.kind],
            "top": origin.top.tolist(),
            "code": code,
        }
        key = sha256_hex(canonical_json(plain(parts, "origin")))[:16]
        yield Task(table, origin, points, level_of, sizes, parts["posterior"], key)


def score_origin(task: Task, settings: Settings) -> dict[str, Any]:
    """Fit what lies up to the origin, forecast what lies above, score both forecasters: a result.

    Raises `origins.Leak` where what is asked for is among what was fitted.
    """
    law, origin = task.table.law, task.origin
    posterior = _fitted(task, settings)
    asked = task.points.take(origin.asked)
    refuse_leaks(
        [posterior.rows[name] for name in (*law.columns, LOSS)],
        [*(asked.columns[name] for name in law.columns), asked.loss_nats],
        task.sizes[origin.fitted],
        task.sizes[origin.asked],
    )
    found = bootstrap.fit_point(law, posterior.rows, settings.seed)
    forecasts = {
        "model": mixture.mixture(
            posterior, asked.columns, seed=settings.seed, compute_flops=asked.compute_flops
        ),
        "bootstrap": bootstrap.baseline(found, posterior.rows, asked.columns, seed=settings.seed),
    }
    happened = np.log(asked.loss_nats)
    beyond = task.sizes[origin.asked] / task.sizes[origin.fitted].max()
    return {
        "key": task.key,
        "table": task.table.name,
        "group": task.table.group,
        "law": law.name,
        "level_of": task.level_of,
        "level": origin.level,
        "kind": origin.kind,
        "fitted": len(origin.fitted),
        "asked": len(origin.asked),
        "identity": posterior.identity,
        "fit": _gates(posterior),
        "point_fit": {
            "rmse": found.rmse,
            "agreeing": found.agreeing,
            "left_out": bootstrap.DRAWS - len(forecasts["bootstrap"].weight),
        },
        "points": {
            "rows": asked.numbers.tolist(),
            "beyond": [float(f"{factor:.6g}") for factor in beyond],
            "top": [int(top) for top in origin.top],
            **{name: scoring.scores(forecast, happened) for name, forecast in forecasts.items()},
        },
    }


def _fitted(task: Task, settings: Settings) -> Posterior:
    """The posterior of the rows up to the origin: the one that is kept, or a new one."""
    folder = (settings.fits or cache_folder() / "scored") / task.identity[:16]
    if (folder / "summary.json").is_file():
        posterior = Posterior.load(folder)
        if posterior.identity == task.identity:
            return posterior
    from moebook.bayes.fitting import fit  # compiles: not before it is needed

    table = task.table
    posterior = fit(
        table.rows.iloc[task.origin.fitted], table.law, columns=table.columns, seed=settings.seed,
        priors=settings.priors, sampler=settings.sampler, source=table.source,
        flops_per_token=table.flops_per_token, progress=False,
    )  # fmt: skip
    if posterior.identity != task.identity:
        raise RuntimeError(f"{task.said()}: the model changed while it was being scored; start again")
    posterior.save(folder)
    return posterior


def _request(table: Table, origin: Origin, settings: Settings) -> Any:
    return request(
        table.rows.iloc[origin.fitted], table.law, columns=table.columns, seed=settings.seed,
        priors=settings.priors, sampler=settings.sampler, source=table.source,
        flops_per_token=table.flops_per_token,
    )  # fmt: skip


def _gates(posterior: Posterior) -> dict[str, Any]:
    """What the gates measured."""
    of = {gate["name"]: gate for gate in posterior.summary["gates"]}
    return {
        "status": posterior.summary["status"],
        "divergences": int(of["divergences"]["value"]),
        "rhat": of["R-hat"]["value"],
        "rhat_of": of["R-hat"]["worst"],
        "efmi": of["E-FMI"]["value"],
        "ess_bulk": of["bulk effective sample"]["value"],
        "ess_tail": of["tail effective sample"]["value"],
    }


def _verdict(result: dict[str, Any]) -> str:
    """A result in a line."""
    everything = np.ones(result["asked"], dtype=bool)
    model, other = (scoring.figures(result["points"][who], everything) for who in scoring.FORECASTERS)
    fit = result["fit"]
    return (
        f"{result['asked']} asked: 90 % covers {100 * model['coverage_90']:.0f} % (bootstrap "
        f"{100 * other['coverage_90']:.0f} %), CRPS {model['crps']:.4f} ({other['crps']:.4f}); "
        f"{fit['divergences']} divergences, R-hat {fit['rhat']:.3f}, ess {fit['ess_bulk']:.0f}"
    )


def _text(results: Sequence[dict[str, Any]], summary: dict[str, Any] | None) -> str:
    """The file: a result a line."""
    head = {"format": FORMAT, "complete": summary is not None, "summary": summary}
    lines = ",\n".join(canonical_json(result) for result in results)
    return canonical_json(head)[:-1] + f',"results":[\n{lines}\n]}}\n'


def stored_results(path: Path | None) -> list[dict[str, Any]]:
    """The results of a file, none where there is none; InputError where it is something else."""
    if path is None or not path.is_file():
        return []
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r} is not {FORMAT}")
        return [result for result in stored["results"] if result["key"]]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no scores of forecasts: {error!r}") from error
