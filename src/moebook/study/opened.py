"""A study opened on this machine: its plan, what the store has of it, and what the rest will cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from moebook.architecture import ModelConfig, counts
from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.runs import SCORE_COLUMNS, Store, read_rows
from moebook.runs.sound import HELD_OUT
from moebook.scores import scored_bytes
from moebook.study.claims import Holder, holders
from moebook.study.estimate import Rates, cell_seconds, disk_bytes, makespan_seconds
from moebook.study.local import default_workers
from moebook.study.plan import Trunk, cells_of, missing, plan, select
from moebook.study.spec import Study, find_study, read_study
from moebook.text import load_text, progress_bars
from moebook.train import Recipe, TextIdentity

#: Held-out tokens of a text that is named by its checksum only and not at hand.
ASSUMED_HELDOUT_TOKENS = 500_000


@dataclass(frozen=True)
class Row:
    """Cells that differ in their seed alone; `seconds` and `done` are sums over them, the rest is of each."""

    budget_flops: float
    model: ModelConfig
    recipe: Recipe
    params: int
    params_active: int
    tokens: int
    steps: int
    compute_flops: float
    seconds: float
    cells: int
    done: int


@dataclass(frozen=True)
class Costs:
    """What a plan costs. FLOPs of training, decays included; seconds and bytes of what is missing.

    whole_...: the same of all its runs, as if none were there. separate_flops: of all runs, if no two shared
    a trunk. evaluation_share: of the whole's process time. trunk_seconds: of one process for what is missing,
    by trunk; cell_seconds: of one process for each run, missing or not, by key.
    """

    cells: int
    missing: int
    flops: float
    missing_flops: float
    separate_flops: float
    seconds: float
    process_seconds: float
    evaluation_share: float
    workers: int
    record_bytes: int
    checkpoint_bytes: int
    whole_seconds: float
    whole_process_seconds: float
    whole_record_bytes: int
    whole_checkpoint_bytes: int
    trunk_seconds: dict[str, float]
    cell_seconds: dict[str, float]


@dataclass(frozen=True)
class Opened:
    """A study's trunks (those asked for) with the status of each of their runs that has a record.

    unscored: keys of the runs in the store that are done and have no score; purposes: of the runs in the
    store, "" for those of the table.
    """

    study: Study
    text: TextIdentity
    heldout_tokens: int
    trunks: tuple[Trunk, ...]
    statuses: dict[str, str]
    rates: Rates
    cuda: bool
    runs: Path
    unscored: frozenset[str] = frozenset()
    purposes: Mapping[str, str] = field(default_factory=dict)

    def missing(self, retry: bool = False) -> list[Trunk]:
        """What is to be run; with `retry` also what failed or diverged."""
        return missing(self.trunks, self.statuses, retry)

    def again(self) -> Opened:
        """The same, with the statuses read anew."""
        rows = read_rows(Store(self.runs), self.text.name)
        statuses = {row["key"]: row["status"] for row in rows}
        return replace(self, statuses=statuses, unscored=_unscored(rows))

    def take_over(self) -> int:
        """Make runs that are cells of this study too, if it is of the table, runs of the table.

        Raises InputError for what was held out, or is to be held out and is in the table: no run is both.
        """
        keys = sorted(cell.key for trunk in self.trunks for cell in trunk.cells)
        found = {key: self.purposes[key] for key in keys if key in self.purposes}
        asked = self.study.purpose
        for key, purpose in found.items():
            if purpose != asked and HELD_OUT in (purpose, asked):
                made, wants = purpose or "the table", asked or "the table"
                raise InputError(
                    f"{self.study.name}: {key}: is there for {made}, and cannot be for {wants}: what is held "
                    "out serves nothing else"
                )
        done = {key for key in found if self.statuses[key] == "done"}
        wanted = [] if asked else [key for key, purpose in found.items() if purpose and key in done]
        for key in wanted:
            Store(self.runs).take_over(key)
        return len(wanted)

    def never_scored(self) -> int:
        """How many runs are done but lack the scores that the study asks for; their weights are gone."""
        keys = {cell.key for trunk in self.trunks for cell in trunk.cells}
        return len(keys & self.unscored) if self.study.scores else 0

    def evaluated_tokens(self, trunk: Trunk) -> int:
        """Tokens that go through a trunk's model at the end of each of its runs."""
        return self.heldout_tokens + scored_bytes(self._tasks, trunk.model)

    @property
    def _tasks(self) -> tuple[str, ...]:
        return self.study.scores.tasks if self.study.scores else ()

    def counts(self) -> dict[str, int]:
        """How many runs are done, diverged, failed, missing, and how many cells there are."""
        found = [self.statuses.get(cell.key, "missing") for trunk in self.trunks for cell in trunk.cells]
        return {s: found.count(s) for s in ("done", "diverged", "failed", "missing")} | {"cells": len(found)}

    def running(self, work: Path) -> list[tuple[Trunk, Holder]]:
        """The trunks that a process holds at this moment, here or on another machine, with who holds them."""
        held = holders(work)
        return [(trunk, held[trunk.name]) for trunk in self.trunks if trunk.name in held]

    def costs(self, workers: int = 0, retry: bool = False) -> Costs:
        """Cost of the plan with this many processes (0: one a core)."""
        workers = workers or default_workers(self.cuda)
        todo = self.missing(retry)
        whole = [self._seconds(trunk) for trunk in self.trunks]
        whole_seconds = [sum(cells.values()) for cells in whole]
        training = sum(sum(cell_seconds(trunk, self.rates, 0).values()) for trunk in self.trunks)
        trunk_seconds = {trunk.name: sum(self._seconds(trunk).values()) for trunk in todo}
        records, checkpoints = disk_bytes(todo, workers, self._tasks)
        all_records, all_checkpoints = disk_bytes(self.trunks, workers, self._tasks)
        return Costs(
            cells=sum(len(t.cells) for t in self.trunks), missing=sum(len(t.cells) for t in todo),
            flops=sum(t.flops for t in self.trunks), missing_flops=sum(t.flops for t in todo),
            separate_flops=sum(cell.compute_flops for t in self.trunks for cell in t.cells),
            seconds=makespan_seconds(list(trunk_seconds.values()), workers),
            process_seconds=sum(trunk_seconds.values()),
            evaluation_share=1 - training / sum(whole_seconds), workers=workers,
            record_bytes=records, checkpoint_bytes=checkpoints,
            whole_seconds=makespan_seconds(whole_seconds, workers), whole_process_seconds=sum(whole_seconds),
            whole_record_bytes=all_records, whole_checkpoint_bytes=all_checkpoints,
            trunk_seconds=trunk_seconds,
            cell_seconds={key: seconds for cells in whole for key, seconds in cells.items()},
        )  # fmt: skip

    def _seconds(self, trunk: Trunk) -> dict[str, float]:
        """Expected seconds of one process for each run of a trunk, by key."""
        return cell_seconds(trunk, self.rates, self.evaluated_tokens(trunk))

    def rows(self, costs: Costs) -> list[Row]:
        """The plan's table, by budget, sparsity and width."""
        rows: dict[tuple[Any, ...], Row] = {}
        for trunk, cell in cells_of(self.trunks):
            found = counts(trunk.model)
            seconds, done = costs.cell_seconds[cell.key], self.statuses.get(cell.key) == "done"
            name = (cell.budget_flops, trunk.model, trunk.recipe)
            before = rows.get(name)
            rows[name] = Row(
                cell.budget_flops, trunk.model, trunk.recipe, found.params, found.params_active, cell.tokens,
                cell.steps, cell.compute_flops, seconds + (before.seconds if before else 0.0),
                1 + (before.cells if before else 0), done + (before.done if before else 0),
            )  # fmt: skip
        return list(rows.values())

    def report(self, costs: Costs) -> dict[str, Any]:
        """The plan as plain values: each cell, and what the whole costs."""
        cells = [
            {
                "key": cell.key, "trunk": trunk.name, "budget_flops": cell.budget_flops,
                "sparsity": trunk.model.sparsity, "experts": trunk.model.experts,
                "active": trunk.model.active, "width": trunk.model.width, "seed": trunk.seed,
                "params": counts(trunk.model).params, "params_active": counts(trunk.model).params_active,
                "tokens": cell.tokens, "steps": cell.steps, "compute_flops": cell.compute_flops,
                "seconds": round(costs.cell_seconds[cell.key], 2),
                "status": self.statuses.get(cell.key, "missing"), "recipe": asdict(trunk.recipe),
            }
            for trunk, cell in cells_of(self.trunks)
        ]  # fmt: skip
        by_name = ("trunk_seconds", "cell_seconds")
        total = {name: value for name, value in asdict(costs).items() if name not in by_name}
        return {
            "study": self.study.name, "text": asdict(self.text), "heldout_tokens": self.heldout_tokens,
            "rates": self.rates.source, "cells": cells, "total": total,
        }  # fmt: skip


def open_study(
    name: str,
    folder: Path | None = None,
    runs: Path | str = "runs",
    only: Sequence[str] = (),
    needs_text: bool = False,
) -> Opened:
    """Read a study, its text and what the store has of it, and plan it.

    The text is prepared if need be; where it is a folder that is not given, and the study names the text's
    checksum, planning goes without it, unless `needs_text`. Raises InputError for a bad study, text or
    record.
    """
    study = read_study(path := find_study(name))
    if study.name != path.stem:  # a copy's runs would be taken for those of the study that it was copied from
        raise InputError(f"{path}: name: {study.name!r}: must be that of the file, {path.stem!r}")
    if Path(runs).exists() and not Path(runs).is_dir():
        raise InputError(f"--runs: {runs}: is no folder")
    if study.text.source == "folder" and folder is None and study.text.sha256 and not needs_text:
        identity, heldout_tokens = TextIdentity(study.text.name, study.text.sha256), ASSUMED_HELDOUT_TOKENS
    else:
        with progress_bars() as bars:
            text = load_text(study.text, folder, progress=bars)
        identity, heldout_tokens = TextIdentity(text.name, text.sha256), len(text.heldout_T)
    trunks = plan(study, identity)
    rows = read_rows(Store(runs))
    import torch

    cuda = torch.cuda.is_available()
    return Opened(
        study, identity, heldout_tokens, tuple(select(trunks, only) if only else trunks),
        {row["key"]: row["status"] for row in rows}, Rates.of(rows, "cuda" if cuda else "cpu"), cuda,
        Path(runs), _unscored(rows),
        {row["key"]: row["purpose"] for row in rows},
    )  # fmt: skip


def _unscored(rows: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    done = (row for row in rows if row["status"] == "done")
    return frozenset(row["key"] for row in done if all(row[name] is None for name in SCORE_COLUMNS))


def write_cells(path: Path, cells: Sequence[Mapping[str, Any]]) -> None:
    """The cells of `Opened.report` as a CSV; of the recipe its rate and batch.

    Raises InputError where the path is no .csv, or holds something else.
    """
    if path.suffix != ".csv":
        raise InputError(f"--out: {path}: must end in .csv")
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(b"key,budget_flops,")):
        raise InputError(f"--out: {path}: is there already and is no table of cells")
    text = io.StringIO()
    names = [name for name in cells[0] if name not in ("recipe", "seconds", "status", "trunk")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "learning_rate", "batch_sequences"])
    for cell in cells:
        recipe = cell["recipe"]
        writer.writerow([*(cell[n] for n in names), recipe["learning_rate"], recipe["batch_sequences"]])
    write_atomic(path, text.getvalue())
