"""Text from Python sources that everyone with the lock has bit for bit: those of installed distributions.

`packages.json` beside this file lists the distributions: pure Python, one wheel for every platform, pinned by
`requirements.lock`. For each it holds the version, a checksum of the RECORD rows of its `*.py` files, and
the files that are left out with the reason (`rules.py`). Nothing is downloaded or copied into the package:
files are read where they are installed, and each is compared with its sha256 in RECORD.

`python -m moebook.text.packages --lock requirements.lock --write` makes the list again when the lock changes.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.text.documents import Document
from moebook.text.progress import Progress
from moebook.text.spec import TextSpec

LIST = Path(__file__).with_name("packages.json")
REMEDY = "pip install -r requirements.lock"


class PackagesSource:
    """The listed distributions, as they are installed for this Python or in a folder.

    spec: its other fields decide whether the committed checksum of the text applies.
    folder: a site-packages folder to read instead of what this Python imports from.
    listing: another list than the committed one.
    """

    def __init__(
        self, spec: TextSpec, folder: Path | None = None, listing: dict[str, Any] | None = None
    ) -> None:
        self.listing = listing if listing is not None else json.loads(LIST.read_bytes())
        self.folder = folder
        usual = TextSpec(source="packages", name=spec.name)
        self.sha256 = self.listing["text_sha256"] if spec.preparation() == usual.preparation() else ""
        self.fingerprint = {"packages": sha256_hex(canonical_json(self.listing["distributions"]))}

    def documents(self, progress: Progress) -> Iterator[Document]:
        """One document a file; its order and side are hashed from `distribution/path`."""
        total = sum(entry["bytes"] for entry in self.listing["distributions"])
        done = 0
        for entry in self.listing["distributions"]:
            distribution = installed(entry["name"], entry["version"], self.folder)
            rows = python_rows(distribution)
            if rows_sha256(rows) != entry["rows_sha256"]:
                raise InputError(
                    f"{record_path(distribution)}: {entry['name']} {entry['version']}: hashes of *.py files "
                    f"that are not those of the listed wheel: {REMEDY} --force-reinstall"
                )
            left_out = {path for paths in entry["left_out"].values() for path in paths}
            for path, expected in rows.items():
                if path not in left_out:
                    content = verified(distribution, path, expected)
                    done += len(content)
                    progress("verifying sources", done, total)
                    yield Document((content,), identity=f"{entry['name']}/{path}", origin=entry["name"])


def installed(name: str, version: str, folder: Path | None = None) -> Distribution:
    """The installed distribution of that version; InputError where there is none or another one."""
    places = {} if folder is None else {"path": [str(folder)]}
    found = next(iter(distributions(name=name, **places)), None)
    if found is None:
        raise InputError(f"{folder or 'packages'}: {name}: {version}: not installed: {REMEDY}")
    if found.version != version:
        raise InputError(
            f"{record_path(found)}: {name}: {found.version}: version {version} is listed: {REMEDY}"
        )
    return found


def record_path(distribution: Distribution) -> Path:
    """Where the RECORD of a distribution is, or would be."""
    return Path(str(distribution.locate_file(""))) / f"{distribution.name}-{distribution.version} RECORD"


def python_rows(distribution: Distribution) -> dict[str, str]:
    """RECORD's sha256 (URL-safe base64) of every `*.py` file inside of site-packages, by path, sorted."""
    record = distribution.read_text("RECORD")
    if record is None:
        raise InputError(
            f"{record_path(distribution)}: missing: only distributions installed from a wheel have one"
        )
    rows = {}
    for row in csv.reader(record.splitlines()):
        if row and row[0].endswith(".py") and not row[0].startswith(("/", "../")):
            if len(row) < 2 or not row[1].startswith("sha256="):
                raise InputError(f"{record_path(distribution)}: {row[0]}: no sha256")
            rows[row[0]] = row[1].removeprefix("sha256=")
    return dict(sorted(rows.items()))


def rows_sha256(rows: dict[str, str]) -> str:
    """One checksum for the `*.py` rows of a RECORD."""
    return sha256_hex(canonical_json(rows))


def verified(distribution: Distribution, path: str, expected: str) -> bytes:
    """The content of an installed file; InputError naming it where it is missing or has been changed."""
    place = Path(str(distribution.locate_file(path)))
    try:
        content = place.read_bytes()
    except OSError as error:
        whose = f"RECORD of {distribution.name} {distribution.version}"
        raise InputError(
            f"{place}: cannot be read, but stands in the {whose}: {error.strerror}: {REMEDY}"
        ) from None
    found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if found != expected:
        whose = f"RECORD of {distribution.name} {distribution.version}"
        raise InputError(
            f"{place}: sha256: {found}: changed since installation, {whose} says {expected}: {REMEDY}"
        )
    return content
