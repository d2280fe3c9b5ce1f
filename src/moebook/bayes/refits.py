"""Other people's tables fitted again: beside what they printed, and with what their laws miss.

One JSON file holds the result. It has no row of a table, and nothing that a row could be read from: tables
have licences of their own, and are reached by checksum (`moebook.runs.public`).

    {"format": 1, "tables": {table: {title, licence, paper, repository, commit, files: {file: sha256},
        seed_noise, dense, parts: {part: {identity, rows, fits: {law: fit}, comparison, held_out}}}}}

A part is the rows that one law is drawn through: a router of Clark et al., a variant of Porian et al., the
whole of another table. A part that is in the file under the same identity is kept. What each
field is says the function that makes it, there in `refitted`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook import laws
from moebook.bayes.refitted import Part, Settings, fit_part
from moebook.errors import InputError
from moebook.files import check_writable, write_atomic
from moebook.laws.clark import PUBLISHED
from moebook.runs.public import SOURCES, law_rows, public_table
from moebook.runs.public.clark import ROUTERS

if TYPE_CHECKING:
    import pandas

FILE = "public.json"
FORMAT = 1
CLARK_LAWS = ("clark-separable", "clark-bilinear", "clark")  # of growing freedom
LARGEST_PARAMS = 1e9  # Clark's size of 1.3B parameters is held out


def parts_of(name: str, table: pandas.DataFrame) -> list[Part]:
    """The parts of a public table, and what its authors, or those who corrected them, print."""
    if name == "clark2022":
        found = []
        for router in ROUTERS:
            rows = law_rows(table, router)
            largest = (rows["params_active"] > LARGEST_PARAMS).to_numpy()
            printed = {"clark": PUBLISHED[router]}
            found.append(Part(router, rows, CLARK_LAWS, huber=False, printed=printed, held_out=largest))
        return found
    if name == "porian2024":
        groups = table.groupby("variant", sort=True)
        return [Part(str(v), rows, ("chinchilla",), huber=True) for v, rows in groups]
    printed = {"chinchilla": laws.get("chinchilla").published}
    return [Part("all runs", table, ("chinchilla",), huber=True, printed=printed)]


def refit(
    out: Path | str,
    public: Path | str | None = None,
    settings: Settings | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit every law to every part of every public table, and keep the result in `out`/public.json.

    public: folder of the tables, else they are downloaded; report: called with a line when a part begins or
    is kept. The file is written after each part, and what it has under the same identity is kept.
    Raises InputError where a table cannot be had, or the file is of another kind; then nothing is written.
    """
    path, settings = Path(out) / FILE, settings or Settings()
    check_writable(path.parent)
    before = load_refits(path)["tables"] if path.is_file() else {}
    tables = {name: public_table(name, public) for name in SOURCES}
    found: dict[str, Any] = {"format": FORMAT, "tables": dict(before)}
    for name, table in tables.items():
        parts = {part.name: part for part in parts_of(name, table)}
        stored = before.get(name, {"parts": {}})
        marks = {key: part.identity(settings) for key, part in parts.items()}
        kept = {key for key, mark in marks.items() if stored["parts"].get(key, {}).get("identity") == mark}
        if kept == parts.keys() == stored["parts"].keys():
            report(f"{name}: kept")
            continue
        # What is stored stays until its place is taken, so that a book can be made at any moment.
        entry = {**_provenance(name, table), **_of_clark(name, table)}
        entry["parts"] = {key: stored["parts"][key] for key in parts if key in stored["parts"]}
        found["tables"][name] = entry
        for i, (key, part) in enumerate(parts.items()):
            if key in kept:
                report(f"{name}, {key}: kept")
                continue
            report(f"{name}, {key}: {len(part.rows)} runs, {', '.join(part.laws)} ({i + 1} of {len(parts)})")
            entry["parts"][key] = {"identity": marks[key], **fit_part(part, settings)}
            write_atomic(path, json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return found


def load_refits(path: Path | str) -> dict[str, Any]:
    """The stored refits; InputError where the file cannot be read or is of another kind."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r} is not {FORMAT}")
        for table in found["tables"].values():
            for part in table["parts"].values():
                part["identity"], part["fits"]
        return found
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}; `moebook refit` makes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not what `moebook refit` writes: {error}") from error


def _provenance(name: str, table: pandas.DataFrame) -> dict[str, Any]:
    """Whose table, on what terms, and the sha256 of each file that was read; no path of this machine."""
    told = dict(table.attrs["public"])
    local = SOURCES[name].file.local
    files = {local if path.endswith(local) else path: mark for path, mark in told.pop("files").items()}
    return {**told, "files": files}


def _of_clark(name: str, table: pandas.DataFrame) -> dict[str, Any]:
    """What is said of Clark's table alone: `seed_noise`, from the dense runs that differ in their seed only,
    and `dense`, the power law of the five dense runs that all routers share."""
    if name != "clark2022":
        return {}
    seeds = table[(table["router"] == "Dense") & table["seed"].isin([1, 2, 3])]
    deviation = float(seeds["loss_nats"].std())
    rows = law_rows(table, ROUTERS[0])
    rows = rows[rows["router"] == "Dense"]
    fit, covariance = np.polyfit(np.log(rows["params_active"]), np.log(rows["loss_nats"]), 1, cov=True)
    return {
        "seed_noise": {
            "runs": len(seeds), "nats": deviation, "relative": deviation / float(seeds["loss_nats"].mean())
        },
        "dense": {
            "rows": len(rows), "exponent": -float(fit[0]), "error": float(np.sqrt(covariance[0, 0]))
        },
    }  # fmt: skip
