"""Where the tasks' texts come from: a folder that the user names, or the network; by checksum either way.

In the folder, at most two levels down, else (where there is one) at the pinned address:

- BLiMP: `blimp.jsonl.xz`, `blimp.jsonl` or `BLiMP.zip`; github alexwarstadt/blimp.
- WikiText-2, its test part: `eval_wikitext2.jsonl.xz` (the row with split `test`), `wiki.test.tokens` or
  `wikitext-2/test.txt`; github pytorch/examples.
- Held-out books: rows with split `val` of `books.jsonl.xz` or `books.jsonl`.
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.runs.public.files import PinnedFile, download

#: Warstadt et al. 2020, doi 10.1162/tacl_a_00321; CC-BY 4.0.
BLIMP = PinnedFile(
    "blimp.jsonl.xz", "BLiMP.zip", "172a1a714d72e72a89e8384dd531483f3d0f8a9aee3d33dccaf7992d8cecbb73", 2354164
)
BLIMP_REPOSITORY = "alexwarstadt/blimp", "3e56b06fcabca9b30822fc66435fca6b1aa40bb1"
#: Of the canonical JSON of all pairs (`PAIR_FIELDS`), sorted: the same in whatever file they lie.
BLIMP_SHA256 = "14d7ba897a5db5a8708ef334cf045d5e072c5954b4501a8ce495dc7ae3ad643e"
PAIR_FIELDS = ("linguistics_term", "UID", "pairID", "sentence_good", "sentence_bad")
#: Merity et al. 2016, arXiv 1609.07843; CC-BY-SA 3.0. The form with words apart and `<unk>`.
WIKITEXT2 = PinnedFile(
    "eval_wikitext2.jsonl.xz", "word_language_model/data/wikitext-2/test.txt",
    "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0", 1256449,
)  # fmt: skip
WIKITEXT2_REPOSITORY = "pytorch/examples", "77f55b912142e11fcfdf5b530231fb9c52f181e8"


class NotMeasured(Exception):
    """A task that cannot be had here; the message says why, and names no place on this machine."""


def blimp_pairs(folder: Path | None) -> list[tuple[str, ...]]:
    """All pairs as (phenomenon, paradigm, number, good, bad), sorted. Raises NotMeasured."""
    path = _find(folder, "blimp.jsonl.xz", "blimp.jsonl", "BLiMP.zip")
    if path is None:
        content = _download(BLIMP, BLIMP_REPOSITORY, folder)
        rows = _zipped_rows(content, "BLiMP.zip")
    else:
        content = _read(path)
        rows = _zipped_rows(content, path.name) if path.suffix == ".zip" else _rows(content, path.name)
    try:
        pairs = sorted(tuple(str(row[name]) for name in PAIR_FIELDS) for row in rows)
    except (KeyError, TypeError) as error:
        raise NotMeasured(f"{path.name if path else BLIMP.remote}: not BLiMP: {error!r}") from error
    _expect(sha256_hex(canonical_json(pairs)), BLIMP_SHA256, path.name if path else BLIMP.remote)
    return pairs


def wikitext2(folder: Path | None) -> str:
    """The test part of WikiText-2. Raises NotMeasured."""
    path = _find(folder, "eval_wikitext2.jsonl.xz", "eval_wikitext2.jsonl", "wiki.test.tokens",
                 "wikitext-2/test.txt")  # fmt: skip
    if path is None:
        content = _download(WIKITEXT2, WIKITEXT2_REPOSITORY, folder)
    elif ".jsonl" in path.name:
        texts = [row["text"] for row in _rows(_read(path), path.name) if row.get("split") == "test"]
        content = "".join(texts).encode()
    else:
        content = _read(path)
    _expect(sha256_hex(content), WIKITEXT2.sha256, path.name if path else WIKITEXT2.remote)
    return content.decode()


def held_out_books(folder: Path | None) -> list[str]:
    """Texts of the books held out from training, in order of the file. Raises NotMeasured."""
    path = _find(folder, "books.jsonl.xz", "books.jsonl")
    if path is None:
        given = "no folder of data is given" if folder is None else "the folder of data has none"
        raise NotMeasured(f"needs books.jsonl.xz with held-out books; {given}")
    books = [row["text"] for row in _rows(_read(path), path.name) if row.get("split") == "val"]
    if not books:
        raise NotMeasured(f"{path.name}: split: no row is `val`, held out")
    return books


def folder_with(folder: Path | None, stems: tuple[str, ...]) -> Path | None:
    """The first folder, `folder` itself or one below it, that holds a file of each of these stems."""
    for place in _places(folder):
        there = {path.name.split(".")[0] for path in place.glob("*.jsonl*")}
        there |= {path.stem for path in place.glob("*.txt")}
        if there and there.issuperset(stems):
            return place
    return None


def _places(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise InputError(f"{folder}: scores: no such folder")
    return [folder, *sorted(p for p in (*folder.glob("*"), *folder.glob("*/*")) if p.is_dir())]


def _find(folder: Path | None, *names: str) -> Path | None:
    places = _places(folder)
    return next((place / name for name in names for place in places if (place / name).is_file()), None)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return lzma.decompress(content) if path.suffix == ".xz" else content
    except OSError as error:
        raise NotMeasured(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except lzma.LZMAError as error:
        raise NotMeasured(f"{path.name}: damaged: {error}") from error


def _rows(content: bytes, name: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError as error:
        raise NotMeasured(f"{name}: not JSON: {error}") from error


def _zipped_rows(content: bytes, name: str) -> list[dict[str, Any]]:
    def rows() -> Iterator[dict[str, Any]]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                if member.endswith(".jsonl") and not member.startswith("__MACOSX"):
                    yield from _rows(archive.read(member), f"{name}: {member}")

    try:
        return list(rows())
    except zipfile.BadZipFile as error:
        raise NotMeasured(f"{name}: damaged: {error}") from error


def _download(file: PinnedFile, repository: tuple[str, str], folder: Path | None) -> bytes:
    try:
        return download(file, *repository)[0]
    except InputError as error:
        given = "no folder of data is given" if folder is None else "not in the folder of data"
        raise NotMeasured(f"{given}; {error}") from error


def _expect(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise NotMeasured(f"{name}: sha256 of its content: {found}: is not the published one, {expected}")
