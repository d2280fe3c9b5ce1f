"""Where the book's sources and the runs that it reads are."""

from __future__ import annotations

import os
from pathlib import Path

from moebook.errors import InputError


def project_root(start: Path | None = None) -> Path:
    """The folder with `_config.yml` and `book/`, looked for upwards from `start`, then from this file.

    Raises InputError where there is none: the book is built from a checkout, not from a wheel.
    """
    start = (start or Path.cwd()).resolve()
    here = Path(__file__).resolve()
    for folder in (start, *start.parents, *here.parents):
        if (folder / "_config.yml").is_file() and (folder / "book" / "_toc.yml").is_file():
            return folder
    raise InputError(
        f"{start}: no _config.yml with book/_toc.yml here or above: run from a checkout of moebook"
    )


def runs_folder() -> Path:
    """The folder of records and posteriors: `MOEBOOK_RUNS` if set, else `runs/` of the project."""
    if named := os.environ.get("MOEBOOK_RUNS"):
        return Path(named)
    return project_root() / "runs"


def posterior_folders(runs: Path | None = None) -> list[Path]:
    """Every stored posterior under `runs/posteriors`, by name; a name that starts with `_` is a draft."""
    folder = (runs or runs_folder()) / "posteriors"
    if not folder.is_dir():
        return []
    return sorted(
        path.parent for path in folder.glob("*/summary.json") if not path.parent.name.startswith("_")
    )
