"""Which distributions and which of their files make the text, and why the others do not.

A distribution is taken if it is one pure-Python wheel for every platform (WHEEL: `Root-Is-Purelib: true`,
every tag `py3-none-any`, or `py2-none-any` beside it), the lock pins it without a condition, and at least a
megabyte of it is left by the rules for files. In this order, a file is left out as

- `empty`: nothing but white space;
- `separator`: holds a byte 0;
- `generated`: says in a comment among its first 25 lines that a program wrote it;
- `repetitive`: over 2,000 bytes and xz compresses it below 12 %;
- `table`: more than half of it lies in literals of over 30 lines (lists, tuples, dictionaries, sets,
  strings that are not docstrings);
- `copied`: more than half of it (counted in lines of 20 characters or more, without indentation) stands in
  files before it, in the order of the text. Without this rule held-out files would be close to copies of
  train files: the model definitions of transformers repeat one another.

The rules are applied when the list is written; the list holds the outcome, so that a text does not depend
on the version of xz, or of Python, that reads it.
"""

from __future__ import annotations

import ast
import hashlib
import lzma
import re
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.text.packages import installed, python_rows, rows_sha256, verified

LEAST_BYTES = 1_000_000
GENERATED_LINES = 25
REPETITIVE_BYTES, REPETITIVE_RATIO = 2_000, 0.12
TABLE_LINES, TABLE_SHARE = 30, 0.5
COPIED_CHARACTERS, COPIED_SHARE = 20, 0.5
NEVER = {
    "moebook": "its own sources are not a pinned distribution",
    "pip": "comes with the environment, not with the lock",
    "setuptools": "comes with the environment, not with the lock",
    "plotly": "nearly all of it is generated from a schema",
    "altair": "nearly all of it is generated from a schema",
}
_GENERATED = re.compile(
    rb"^\s*#.*(auto(matically)?[- ]?generated|generated (by|from|with)|do not (edit|modify)|@generated)",
    re.IGNORECASE | re.MULTILINE,
)
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(;)?")


def choose(
    lock: Path, folder: Path | None = None, told: Callable[[str], None] = lambda name: None
) -> list[dict]:
    """Entries of the list for the pinned distributions that are installed, by name."""
    contents: dict[tuple[str, str], bytes] = {}
    entries = []
    for name, version in pinned(lock).items():
        if name in NEVER:
            continue
        distribution = installed(name, version, folder)
        rows = python_rows(distribution) if is_universal(distribution) else {}
        files = {path: verified(distribution, path, expected) for path, expected in rows.items()}
        if sum(map(len, files.values())) < LEAST_BYTES:
            continue
        told(name)
        reasons = {path: reason(content) for path, content in files.items()}
        entry: dict[str, Any] = {"name": name, "version": version, "rows_sha256": rows_sha256(rows)}
        entry["left_out"] = left_out = {}
        for path, why in reasons.items():
            if why:
                left_out.setdefault(why, []).append(path)
        kept = {(name, path): content for path, content in files.items() if not reasons[path]}
        if sum(map(len, kept.values())) >= LEAST_BYTES:
            contents |= kept
            entries.append(entry)
    of_name = {entry["name"]: entry for entry in entries}
    for name, path in copied(contents):
        of_name[name]["left_out"].setdefault("copied", []).append(path)
        del contents[name, path]
    for entry in entries:
        sizes = [len(content) for (name, _), content in contents.items() if name == entry["name"]]
        entry |= {"files": len(sizes), "bytes": sum(sizes)}
        entry["left_out"] = {why: sorted(paths) for why, paths in sorted(entry["left_out"].items())}
    return [entry for entry in entries if entry["bytes"] >= LEAST_BYTES]


def pinned(lock: Path) -> dict[str, str]:
    """Versions by normalised name of the lines of a requirements file that pin without a condition."""
    pins = {}
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{lock}: cannot be read: {error.strerror}") from None
    for line in lines:
        if (match := _PIN.match(line)) and not match[3]:
            pins[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return dict(sorted(pins.items()))


def is_universal(distribution: Distribution) -> bool:
    """Whether the wheel that was installed serves every platform and every Python 3."""
    fields = [line.partition(":")[::2] for line in (distribution.read_text("WHEEL") or "").splitlines()]
    tags = {value.strip() for field, value in fields if field == "Tag"}
    pure = ("Root-Is-Purelib", "true") in {(field, value.strip()) for field, value in fields}
    return pure and "py3-none-any" in tags and tags <= {"py3-none-any", "py2-none-any"}


def reason(content: bytes) -> str:
    """Why a file is left out whatever the others hold, or ""."""
    if not content.strip():
        return "empty"
    if b"\0" in content:
        return "separator"
    if _GENERATED.search(b"\n".join(content.split(b"\n", GENERATED_LINES)[:GENERATED_LINES])):
        return "generated"
    if len(content) > REPETITIVE_BYTES and len(lzma.compress(content)) < REPETITIVE_RATIO * len(content):
        return "repetitive"
    if table_bytes(content) > TABLE_SHARE * len(content):
        return "table"
    return ""


def table_bytes(content: bytes) -> int:
    """How many bytes of a source lie in long literals; 0 where this Python cannot parse it."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return 0
    lines = content.splitlines(keepends=True)
    literals = ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Constant
    total, todo = 0, [tree]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            if isinstance(node, literals) and node.end_lineno - node.lineno >= TABLE_LINES:
                total += sum(map(len, lines[node.lineno - 1 : node.end_lineno]))
            else:
                todo.append(node)
    return total


def copied(contents: dict[tuple[str, str], bytes]) -> Iterable[tuple[str, str]]:
    """The files, by (distribution, path), of which more than half stands in files before them."""
    seen: set[bytes] = set()
    copies = []
    for name, path in sorted(contents, key=lambda key: hashlib.sha256("/".join(key).encode()).digest()):
        lines = [line.strip() for line in contents[name, path].splitlines()]
        lines = [line for line in lines if len(line) >= COPIED_CHARACTERS]
        if sum(len(line) for line in lines if line in seen) > COPIED_SHARE * sum(map(len, lines)):
            copies.append((name, path))
        seen.update(lines)
    return copies
