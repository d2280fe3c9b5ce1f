"""The three stages of `make reproduce`: retrain, refit, render."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moebook.reproduce.compare import DIFFERS, Comparison, compare_estimate, compare_run, seed_deviation_nats
from moebook.runs import Store

STUDY = "quick"
FINISHED = "finished"


class StageError(RuntimeError):
    """A stage did not come to its end; the message is one line."""


def retrain(root: Path, scratch: Path, only: Sequence[str] = ()) -> list[Comparison]:
    """Train the quick study into `scratch` and compare each run with the committed one of its key.

    A drive that was cut off goes on where it was; one that had ended is trained anew.
    """
    from moebook.study import Display, Job, default_workers, open_study, run_trunks

    if (scratch / FINISHED).exists():
        shutil.rmtree(scratch)
    opened = open_study(str(root / "studies" / f"{STUDY}.yml"), runs=scratch, only=only, needs_text=True)
    trunks = opened.missing()
    if trunks:
        workers = default_workers(opened.cuda)
        job = Job(opened.study.name, opened.study.text, None, scratch, scratch / "work")
        with Display(opened.study.name) as display:
            state = run_trunks(trunks, opened.costs(workers).trunk_seconds, job, workers, None, display)
        if state.failures or state.stopped:
            reasons = [reason for _, reason in state.failures] or [state.stopped]
            raise StageError(f"study {STUDY}: {reasons[0]}")
    committed = Store(root / "runs").load(opened.text.name)
    by_key = {record.key: record for record in committed}
    noise_nats = seed_deviation_nats(committed)
    keys = {cell.key for trunk in opened.trunks for cell in trunk.cells}
    made = [record for record in Store(scratch).load() if record.key in keys]
    if missing := keys - {record.key for record in made}:
        raise StageError(f"study {STUDY}: {len(missing)} of {len(keys)} runs were not made")
    (scratch / FINISHED).touch()
    return [compare_run(record, by_key.get(record.key), noise_nats) for record in made]


def refit(root: Path, scratch: Path) -> dict[str, list[Comparison]]:
    """Fit each committed posterior again from the committed run table; its estimates, compared, by name."""
    from moebook.bayes import Posterior, read_summary
    from moebook.bayes.fitting import Sampler, fit
    from moebook.bayes.stored import read_runs

    compared: dict[str, list[Comparison]] = {}
    for folder in sorted(path.parent for path in (root / "runs" / "posteriors").glob("*/summary.json")):
        before = read_summary(folder)
        parts = before["ingredients"]
        table, source, excluded = read_runs(root / "runs", folder.name)
        posterior: Posterior = fit(
            table, before["law"], seed=parts["seed"], sampler=Sampler(**parts["sampler"]),
            source=source, excluded=excluded,
        )  # fmt: skip
        posterior.save(scratch / folder.name)
        compared[folder.name] = compare_posterior(posterior.summary, before)
    if not compared:
        raise StageError(f"{root / 'runs' / 'posteriors'}: no posterior is committed")
    return compared


def compare_posterior(made: dict[str, Any], before: dict[str, Any]) -> list[Comparison]:
    """Each cited quantile of two summaries of one posterior, compared within its Monte Carlo error."""
    same_rows = made["ingredients"]["data"] == before["ingredients"]["data"]
    comparisons = [] if same_rows else [Comparison("rows", DIFFERS, "the committed posterior has other rows")]
    for name, old in before["estimates"].items():
        new = made["estimates"].get(name)
        if new is None:
            comparisons.append(Comparison(name, DIFFERS, "is not estimated any more"))
            continue
        for quantile in ("q05", "q50", "q95"):
            error = f"mcse_{quantile}"
            comparisons.append(
                compare_estimate(f"{name} {quantile}", new[quantile], old[quantile], new[error], old[error])
            )
    return comparisons
