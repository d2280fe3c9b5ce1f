"""Commands run inside a chapter, as a reader would type them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from moebook.book.paths import runs_folder

SECONDS = 540
#: Set by a notebook's kernel: with them a program takes a pipe for a terminal, and animates.
TERMINAL = ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JPY_PARENT_PID")


def fresh_folder() -> Path:
    """An empty temporary folder for a chapter's files."""
    return Path(tempfile.mkdtemp(prefix="moebook-chapter-"))


def run(command: str, folder: Path, fails: bool = False) -> str:
    """Run a `moebook ...` command line in a folder and return what it printed, both streams.

    fails: whether the command is meant to end with an error. RuntimeError, with the output, if it ends
    otherwise. Neither the folder's nor the project's path is shown.
    """
    words = shlex.split(command)
    if words[0] != "moebook":
        raise ValueError(f"command: {command!r}: only moebook is run in chapters")
    env = {name: value for name, value in os.environ.items() if name not in TERMINAL}
    env |= {"COLUMNS": "92", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, text=True, timeout=SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
    )  # fmt: skip
    text = done.stdout.replace(f"{folder}/", "").replace(f"{runs_folder().parent}/", "").rstrip()
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"{command}: ended with {done.returncode}:\n{text}")
    return text + (f"\n[exit code {done.returncode}]" if fails else "")
