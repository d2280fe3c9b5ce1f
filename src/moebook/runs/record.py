"""What a run is: one record, typed, checked when it is made and again when it is read.

A record's key is a hash of what decides its numbers (configuration, text, numerics version), so the same run
has the same key everywhere. A run that failed or diverged is a record too: it has a reason and no loss.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.runs.sound import validate

FORMAT = 1
KEY_DIGITS = 16
#: Fields that came later: an empty one is no part of what is stored, so that older files stay as they are.
LATER = ("scores", "purpose")


def run_key(config: Mapping[str, Any], numerics: int) -> str:
    """A run's name: 16 hex digits of the sha256 of its configuration and numerics version.

    `config` is the plain mapping {model, recipe, text, tokens, seed}; equal values give equal keys, in any
    order of fields.
    """
    return sha256_hex(canonical_json({"config": config, "numerics": numerics}))[:KEY_DIGITS]


@dataclass(frozen=True)
class Record:
    """One run.

    config: {model: {...}, recipe: {...}, text: {name, sha256, ...}, tokens, seed}, plain values only.
    numerics: version of the computation; two versions do not give the same numbers.
    status: "done", "diverged" or "failed"; `reason` says why, and at which step, unless done.
    measures: what was counted and measured, numbers or lists of them, one for each layer; losses in nats a
        token. A run that is not done has no loss.
    curve: {tokens: [...], loss_nats: [...]}, the training loss, thinned.
    cost: {wall_seconds, cpu_seconds, tokens_per_second}.
    environment: {device, ...}: hardware, versions, commit of the code.
    scores: what the model could do at its end (`moebook.scores`): {version, multiple, seconds, tasks: {name:
        {status, score, stderr, chance, ...} or {status, reason}}, items: {sha256, bytes}}; empty where it was
        not scored, and then no part of what is stored.
    purpose: "" for a run of the table that laws are fitted to; else what it was made for, as in "tuning" or
        "held-out", and then no law is fitted to it.
    finished: ISO time. history: earlier attempts that did not finish, oldest first, as plain mappings.

    Raises InputError naming the field and the value.
    """

    config: Mapping[str, Any]
    numerics: int
    status: str
    measures: Mapping[str, Any]
    study: str = ""
    reason: str = ""
    curve: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    finished: str = ""
    history: tuple[Mapping[str, Any], ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = ""

    def __post_init__(self) -> None:
        for name in ("config", "measures", "curve", "cost", "environment", "history", "scores"):
            try:
                plain = json.loads(canonical_json(getattr(self, name)))
            except ValueError as error:
                raise InputError(f"record: {name}: holds a number that is not finite: {error}") from error
            object.__setattr__(self, name, frozen(name, plain))
        validate(self)

    @functools.cached_property
    def key(self) -> str:
        return run_key(self.config, self.numerics)

    @property
    def text(self) -> str:
        """Name of the text the run was trained on."""
        return self.config["text"]["name"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def tokens(self) -> int:
        """Training tokens D."""
        return self.config["tokens"]

    @property
    def model(self) -> Mapping[str, Any]:
        return self.config["model"]

    @property
    def recipe(self) -> Mapping[str, Any]:
        return self.config["recipe"]

    @property
    def done(self) -> bool:
        return self.status == "done"

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, with its format, key and checksum."""
        content = {"format": FORMAT, "key": self.key} | {f.name: getattr(self, f.name) for f in fields(self)}
        content["history"] = list(self.history)
        for name in LATER:
            if not content[name]:
                del content[name]
        return content | {"sha256": _checksum(content)}

    def to_json(self) -> str:
        """The record as it is stored: canonical JSON, one line a field."""
        lines = (f'"{name}":{canonical_json(value)}' for name, value in self.to_dict().items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_dict(cls, content: Any, where: str = "record") -> Record:
        """The record in a mapping made by `to_dict`; `where` (a file's name) opens each error's message."""
        if not isinstance(content, Mapping):
            raise InputError(f"{where}: is {type(content).__name__}, not a record")
        if content.get("format") != FORMAT:
            raise InputError(f"{where}: format: {content.get('format')!r}: only format {FORMAT} is known")
        names = [f.name for f in fields(cls) if f.name not in LATER or f.name in content]
        expected = {"format", "key", "sha256", *names}
        if missing := sorted(expected - set(content)):
            raise InputError(f"{where}: {missing[0]}: missing")
        if unknown := sorted(map(str, set(content) - expected)):
            raise InputError(f"{where}: {unknown[0]}: unknown field")
        try:
            checksum = _checksum(content)
        except ValueError as error:
            raise InputError(f"{where}: holds a number that is not finite: {error}") from error
        if content["sha256"] != checksum:
            raise InputError(f"{where}: sha256: {content['sha256']!r}: does not match the content: edited")
        try:
            record = cls(**{name: content[name] for name in names})
        except InputError as error:
            raise InputError(f"{where}: {str(error).removeprefix('record: ')}") from error
        if content["key"] != record.key:
            raise InputError(
                f"{where}: key: {content['key']!r}: the configuration and numerics give {record.key}"
            )
        return record

    @classmethod
    def from_json(cls, content: str | bytes, where: str = "record") -> Record:
        """The record in a stored file's content."""
        try:
            parsed = json.loads(content, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: half-written or not JSON: {error}") from error
        return cls.from_dict(parsed, where)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256_hex(canonical_json({name: value for name, value in content.items() if name != "sha256"}))


def frozen(name: str, value: Any) -> Any:
    """A field's value as a record holds it: a list of earlier attempts as a tuple."""
    return tuple(value) if name == "history" and isinstance(value, list) else value
