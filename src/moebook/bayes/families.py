"""The tables on which forecasts are scored: other people's, and our own records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from moebook import laws
from moebook.bayes.columns import choose_law
from moebook.bayes.quantities import Points, take_points
from moebook.bayes.reading import finished, of_one_text, read_table
from moebook.bayes.stored import read_runs
from moebook.errors import InputError
from moebook.runs.public import law_rows, public_table
from moebook.runs.public.clark import ROUTERS

#: Columns from which compute follows; a law that reads none of them is asked for larger sizes instead.
OF_TRAINING = {"tokens", "compute_flops"}


@dataclass(frozen=True)
class Table:
    """A table to be scored.

    name; group: tables of one group share runs, so that they say nearly the same; law: fitted to it;
    rows: its runs; columns, flops_per_token: how they are read (`moebook.bayes.fit`); source: what messages
    call it.
    """

    name: str
    group: str
    law: laws.Law
    rows: pd.DataFrame
    source: str
    columns: Mapping[str, str] = field(default_factory=dict)
    flops_per_token: str = ""

    def points(self) -> Points:
        """What the law reads of each run, with its loss; InputError where a run cannot be used."""
        return take_points(self.rows, self.law, self.columns, self.source, self.flops_per_token, losses=True)

    def sizes(self, points: Points) -> tuple[str, list[float]]:
        """(what origins roll over, its value in each row): compute, or where the law reads nothing of how
        long a run was trained the size that a token uses."""
        if OF_TRAINING & set(self.law.columns):
            if points.compute_flops is None:
                raise InputError(
                    f"{self.source}: compute_flops: no column for it, and nothing that it follows from: the "
                    "budgets are not known"
                )
            return "compute_flops", points.compute_flops.tolist()
        name = next(n for n in self.law.columns if n in ("params_active", "params"))
        return name, points.columns[name].tolist()


def own_table(
    path: Path,
    law: str | None = None,
    columns: Mapping[str, str] | None = None,
    flops_per_token: str = "",
) -> Table:
    """Anyone's table; unfinished runs are left out. law: by default chosen as for a fit. InputError where it
    cannot be read."""
    rows, _ = finished(of_one_text(read_table(path), "", path), path)
    chosen = laws.get(law or choose_law(rows, columns or {}, str(path))[0])
    return Table(path.stem, path.stem, chosen, rows, str(path), columns or {}, flops_per_token)


def public_tables(folder: Path | None = None) -> list[Table]:
    """Chinchilla's table, the fifteen variants of Porian's and Clark's three routers, each a split family.

    folder: holds the tables' files; without one they are downloaded. The dense runs of Clark's are in all
    three; losses of Porian's at several budgets can come off one run, in one variant and across variants of
    one corpus and recipe, which are one group.
    """
    source = str(folder) if folder else "public tables"
    rows = {name: public_table(name, folder) for name in ("chinchilla", "porian2024", "clark2022")}
    law = laws.get("chinchilla")
    found = [Table("chinchilla", "chinchilla", law, rows["chinchilla"], source)]
    for variant, part in rows["porian2024"].groupby("variant"):
        corpus, recipe = str(variant).split()[:2]
        group = f"porian {corpus} {recipe}"
        found.append(Table(f"porian {variant}", group, law, part.reset_index(drop=True), source))
    for router in ROUTERS:
        part = law_rows(rows["clark2022"], router)
        found.append(Table(f"clark {router}", "clark", laws.get("clark"), part, source))
    return found


def record_tables(runs: Path) -> list[Table]:
    """A table for each text of our own records under `runs`; sparsity varies in them: Abnar's law."""
    texts = sorted(path.name for path in (runs / "records").glob("*") if path.is_dir())
    if not texts:
        raise InputError(f"{runs}: records: there are none")
    law = laws.get("abnar")
    return [Table(f"own {text}", "own", law, read_runs(runs, text)[0], f"{runs} ({text})") for text in texts]
