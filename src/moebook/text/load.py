"""Prepare a text once, whatever happens on the way, and open it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moebook.errors import InputError
from moebook.files import cache_folder, canonical_json, sha256_hex
from moebook.text import folder as folder_source
from moebook.text.cache import Text, open_text, sync_folder, write_header
from moebook.text.documents import Source
from moebook.text.prepare import leaked_documents, prepare
from moebook.text.progress import Progress, silent
from moebook.text.spec import TextSpec

PREPARATION = 1
"""Number that changes when the same documents would be prepared into other bytes."""


def load_text(
    spec: TextSpec,
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    progress: Progress | None = None,
    check: bool = False,
) -> Text:
    """The text of a specification, prepared into the cache the first time and memory-mapped from it.

    spec: what to read and how to split it.
    folder: source `folder`: where the files are; source `packages`: the site-packages to read instead of
        those that this Python imports from; source `huggingface`: what `data_files` are relative to.
    cache: where prepared texts are kept; default `moebook.files.cache_folder()`.
    progress: called with (what, done bytes, total bytes or 0), see `moebook.text.progress_bars`.
    check: compare the whole of both streams with their checksums, not only lengths and header.

    A damaged cache is made again. Two processes may prepare the same text at once: one does, the other waits.
    Raises InputError where the source is missing or changed, a row is bad, the checksum is not `spec.sha256`,
    or the cache cannot be written; nothing half-written is left behind.
    """
    progress = progress or silent
    source = _source(spec, Path(folder) if folder is not None else None)
    identity = {"preparation": PREPARATION, "text": spec.preparation(), "source": source.fingerprint}
    home = (Path(cache) if cache is not None else cache_folder()) / "texts"
    target = home / f"{spec.name}-{sha256_hex(canonical_json(identity))[:16]}"
    text = _open(target, spec.name, check)
    if text is None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _lock(home / f".{target.name}.lock", progress) as alone:
                text = _open(target, spec.name, check)
                if text is None:
                    _build(spec, source, target, alone, progress)
                    text = open_text(target, spec.name)
        except OSError as error:
            raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    for expected, whose in ((spec.sha256, "the text's description"), (source.sha256, "the package")):
        if expected and text.sha256 != expected:
            raise InputError(
                f"text {spec.name}: sha256: {text.sha256}: another text than {whose} expects, {expected}"
            )
    return text


def _source(spec: TextSpec, folder: Path | None) -> Source:
    if spec.source == "folder":
        return folder_source.FolderSource(spec, folder)
    if spec.source == "packages":
        from moebook.text.packages import PackagesSource

        return PackagesSource(spec, folder)
    from moebook.text.huggingface import HuggingFaceSource

    return HuggingFaceSource(spec, folder)


def _open(target: Path, name: str, check: bool) -> Text | None:
    """The prepared text, or None where there is none, or a damaged one, which is made again."""
    if not target.exists():
        return None
    try:
        return open_text(target, name, check)
    except InputError:
        return None


def _build(spec: TextSpec, source: Source, target: Path, alone: bool, progress: Progress) -> None:
    """Prepare in a folder of another name, and give it its own only when it is whole."""
    home = target.parent
    for left_behind in home.glob(f".{target.name}.*.tmp") if alone else ():  # by processes that were killed
        shutil.rmtree(left_behind, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=home, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        os.chmod(temporary, 0o755)
        manifest = prepare(source.documents(progress), spec, temporary, progress)
        manifest["source"] = source.fingerprint
        write_header(temporary, manifest)
        prepared = open_text(temporary, spec.name)
        leaks = leaked_documents(prepared.train_T, prepared.heldout_T, spec.heldout_document_bytes)
        if len(leaks):
            raise RuntimeError(f"text {spec.name}: {len(leaks)} train documents are held out too")
        del prepared
        sync_folder(temporary)
        if _open(target, spec.name, check=False) is None or alone:
            if target.exists():  # damaged, or it would have been opened
                target.rename(temporary / "damaged")
            temporary.rename(target)
            shutil.rmtree(target / "damaged", ignore_errors=True)
            sync_folder(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[bool]:
    """One process at a time; the lock goes with its holder, however that ends.

    False where the system has no such locks: then several prepare, and the first to end counts.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    with open(path, "a") as handle:
        alone = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that prepares this text", 0, 0)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            alone = False
        yield alone
