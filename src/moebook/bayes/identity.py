"""What makes a posterior the one it is: data, law, model, priors, sampler, seed, lock."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.laws import REGISTRY, Law

LOCK = "requirements.lock"
# What decides the numbers where there is no lock.
DECIDING = ("arviz", "numba", "numpy", "nutpie", "pymc", "pytensor", "scipy")
_MODEL_FILES = ("discrepancy.py", "effects.py", "model.py", "totals.py", "weights.py")
#: Rows from which on a table is fitted by a few of them: the file that does so decides, too.
MANY, _MANY_FILES = 2500, ("reduced.py",)


def ingredients(
    data_sha256: str, law: Law, priors: Any, sampler: Any, seed: int, rows: int = 0
) -> dict[str, Any]:
    """Everything that decides a posterior, as plain JSON values; refuses what has no one spelling."""
    folder = Path(__file__).parent
    files = (*_MODEL_FILES, *(_MANY_FILES if rows >= MANY else ()))
    parts = {
        "data": data_sha256,
        "law": {"name": law.name, "source": sha256_hex(_law_source(law)), **_other_priors(law)},
        "model": {name: sha256_hex((folder / name).read_text("utf-8")) for name in files},
        "priors": priors,
        "sampler": sampler,
        "seed": seed,
        "lock": lock_of(folder),
    }
    return {name: plain(part, name) for name, part in parts.items()}


def _other_priors(law: Law) -> dict[str, Any]:
    """The law's own priors, where they are not those of its source: somebody replaced them."""
    stated = REGISTRY[law.name].priors if law.name in REGISTRY else {}
    if dict(law.priors) == dict(stated):
        return {}
    return {"priors": {name: asdict(prior) for name, prior in law.priors.items()}}


def identity(parts: dict[str, Any]) -> str:
    """sha256 of the ingredients, hex."""
    return sha256_hex(canonical_json(plain(parts, "identity")))


def plain(value: Any, name: str) -> Any:
    """The value as JSON types, or InputError: nothing is identified by what cannot be hashed."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value), name)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    raise InputError(f"identity: {name}: {value!r}: cannot be hashed in one way")


def lock_of(start: Path) -> dict[str, Any]:
    """The lock file above `start` by its hash, or else the installed versions that decide the numbers."""
    for folder in start.resolve().parents:
        if (folder / LOCK).is_file():
            return {LOCK: sha256_hex((folder / LOCK).read_text("utf-8"))}
    versions = {name: importlib.metadata.version(name) for name in DECIDING}
    return {"python": ".".join(map(str, sys.version_info[:2])), **versions}


def _law_source(law: Law) -> str:
    """The files that define the law; a law typed into a session has no file and is refused."""
    try:
        return "".join(path.read_text("utf-8") for path in law.files())
    except (OSError, TypeError) as error:
        raise InputError(f"identity: law: {law.name}: its source is in no file: cannot be hashed") from error
