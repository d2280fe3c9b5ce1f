"""Make the list of packages: `python -m moebook.text.packages --lock requirements.lock [--write]`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from moebook.errors import InputError
from moebook.files import write_atomic
from moebook.text.cache import open_text, write_header
from moebook.text.packages import LIST, PackagesSource
from moebook.text.packages.rules import choose
from moebook.text.prepare import prepare
from moebook.text.progress import progress_bars
from moebook.text.spec import TextSpec

console = Console(stderr=True)


def make_list(lock: Path, folder: Path | None = None) -> dict:
    """The list for a lock, from what is installed, with the checksum of the text that it makes."""
    with console.status("reading the packages") as status:
        entries = choose(lock, folder, lambda name: status.update(f"reading {name}"))
    listing = {"format": 1, "text_sha256": "", "distributions": entries}
    spec = TextSpec(source="packages", name="packages")
    with tempfile.TemporaryDirectory() as temporary, progress_bars() as bars:
        source = PackagesSource(spec, folder, listing)
        manifest = prepare(source.documents(bars), spec, Path(temporary), bars)
        write_header(Path(temporary), manifest)
        text = open_text(Path(temporary), spec.name)
        listing["text_sha256"] = text.sha256
        console.print(f"train {len(text.train_T):,} bytes, held out {len(text.heldout_T):,} bytes")
        del text
    return listing


def show(listing: dict) -> None:
    """A table of what is taken and left out."""
    table = Table("distribution", "version", "files", "MB", "left out")
    for entry in listing["distributions"]:
        left_out = ", ".join(f"{why} {len(paths)}" for why, paths in entry["left_out"].items())
        table.add_row(
            entry["name"], entry["version"], str(entry["files"]), f"{entry['bytes'] / 1e6:.1f}", left_out
        )
    total = sum(entry["bytes"] for entry in listing["distributions"])
    table.add_row(
        "", "", str(sum(entry["files"] for entry in listing["distributions"])), f"{total / 1e6:.1f}", ""
    )
    console.print(table)


def command(
    lock: Annotated[Path, typer.Option(help="Requirements file with the pins.")] = Path("requirements.lock"),
    write: Annotated[bool, typer.Option(help="Write the list into the package.")] = False,
) -> None:
    """Make the list of packages from a lock and what is installed; compare it with the committed one.

    Ends with exit code 1 where they differ and --write is not given.
    """
    try:
        listing = make_list(lock)
    except InputError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(2) from None
    show(listing)
    same = LIST.exists() and json.loads(LIST.read_bytes()) == listing
    console.print("the same as the committed list" if same else "differs from the committed list")
    if write:
        write_atomic(LIST, json.dumps(listing, indent=1) + "\n")
    elif not same:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(command)
