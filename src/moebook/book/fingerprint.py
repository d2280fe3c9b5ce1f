"""What the book's numbers depend on, as one hash.

jupyter-cache recognises a chapter by its cells and its kernel alone. A changed constant in the library, an
edited posterior or another lock would then serve the old number. So the cache lives in a folder named
after this hash.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

SOURCE_SUFFIXES = (".py", ".js", ".css", ".yml", ".yaml", ".json")


def fingerprint(library: Path, runs: Path, lock: Path, benchmarks: Path) -> str:
    """Hex sha256 over the library's sources, stored runs and posteriors, the benchmarks' results, the lock
    and the Python version.

    library: folder of the package `moebook`; runs: folder of records and posteriors; lock:
    requirements.lock, which may be missing (its absence is hashed too); benchmarks: folder of results.
    """
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)

    add("python", platform.python_version().encode())
    for path in _files(library):
        if path.suffix in SOURCE_SUFFIXES:
            add(f"library/{path.relative_to(library).as_posix()}", path.read_bytes())
    for name, folder in (("runs", runs), ("benchmarks", benchmarks)):
        for path in _files(folder):
            add(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    add("lock", lock.read_bytes() if lock.is_file() else b"none")
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """Regular files below a folder in a fixed order, without caches and temporary files."""
    found = (
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".tmp", ".lock")
    )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
