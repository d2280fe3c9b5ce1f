"""Other people's files: pinned to a commit and a checksum, read from a folder or downloaded into the cache.

Nothing is opened before its sha256 is the pinned one, wherever it came from.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from moebook.errors import InputError
from moebook.files import cache_folder, sha256_hex, write_atomic

HOST = "https://raw.githubusercontent.com"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class PinnedFile:
    """One file of a public table.

    local: its path below a folder of tables that stands in for the network; remote: its path in the
    repository, empty where the repository has other files that make it; bytes and sha256 of both.
    """

    local: str
    remote: str
    sha256: str
    bytes: int

    def check(self, content: bytes, where: str) -> bytes:
        """The content, or InputError where it is not the pinned one."""
        found = sha256_hex(content)
        if found != self.sha256:
            raise InputError(f"{where}: sha256: {found}: is not the published file, {self.sha256}")
        return content


def read_local(file: PinnedFile, folder: Path) -> tuple[bytes, str]:
    """(content, where it was) of a file below `folder`; InputError where it is missing or another."""
    path = folder / file.local
    try:
        return file.check(path.read_bytes(), str(path)), str(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def download(file: PinnedFile, repository: str, commit: str) -> tuple[bytes, str]:
    """(content, its address) of a file on the network, or of its copy in the cache.

    A copy that has changed is fetched again. InputError names the address and what is wrong with it.
    """
    address = f"{HOST}/{repository}/{commit}/{file.remote}"
    copy = cache_folder() / "public" / file.sha256[:16] / Path(file.remote).name
    if copy.is_file() and copy.stat().st_size == file.bytes and sha256_of(copy) == file.sha256:
        return copy.read_bytes(), address
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            content = answer.read(file.bytes + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{address}: cannot be downloaded: {reason}; a folder that holds {file.local} serves as well"
        ) from error
    write_atomic(copy, file.check(content, address))
    return content, address


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
