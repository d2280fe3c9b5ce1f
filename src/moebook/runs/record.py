"""What a run is: one record, typed, checked when it is made and again when it is read.

A record's key is a hash of what decides its numbers (configuration, text, numerics version), so the same run
has the same key everywhere. A run that failed or diverged is a record too: it has a reason and no loss.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex

FORMAT = 1
KEY_DIGITS = 16
STATUSES = ("done", "diverged", "failed")
#: What a finished run must have measured; a run that did not finish may lack any of them. Not the loss's
#: standard error: one held-out document has none.
DONE_MEASURES = (
    "params", "params_active", "params_nonembedding", "params_active_nonembedding", "sparsity",
    "tokens", "compute_flops", "flops_per_token", "loss_nats", "bits_per_byte",
)  # fmt: skip
#: Fields that came later: an empty one is no part of what is stored, so that older files stay as they are.
LATER = ("scores", "purpose")
#: How a task of `scores` may have ended.
SCORE_STATUSES = ("done", "failed", "not measured")
#: Measures of a trained model; a run that did not finish has none of them.
LOSS_MEASURES = ("loss_nats", "loss_stderr_nats", "bits_per_byte", "train_loss_nats", "balance_loss")
_POSITIVE = ("params", "params_active", "tokens", "compute_flops", "flops_per_token", "loss_nats")
_MODEL_COUNTS = ("width", "layers", "context", "experts", "active", "granularity")
#: The purpose of runs that are forecast before they are made, and serve nothing else.
HELD_OUT = "held-out"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _need(condition: bool, name: str, value: Any, rule: str) -> None:
    if not condition:
        raise InputError(f"record: {name}: {value!r}: {rule}")


def _integer(value: Any, name: str, least: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    good = whole and least <= value < 2**63
    _need(good, name, value, f"must be a whole number of at least {least}, of 63 bits")


def check_purpose(purpose: str) -> None:
    """Raise InputError unless a purpose is empty or a word that is no status, nor nearly `held-out`."""
    word = not purpose or bool(_NAME.fullmatch(purpose))
    _need(word and purpose not in STATUSES, "purpose", purpose, "must be a word, and none of the statuses")
    spelt = purpose == HELD_OUT or re.sub("[^a-z]", "", purpose.lower()) != "heldout"
    _need(spelt, "purpose", purpose, f"is spelt {HELD_OUT}")


def frozen(name: str, value: Any) -> Any:
    """A field's value as a record holds it: a list of earlier attempts as a tuple."""
    return tuple(value) if name == "history" and isinstance(value, list) else value


def validate(record: Record) -> None:
    config = record.config
    _need(isinstance(config, Mapping), "config", config, "must be a mapping")
    _need(
        set(config) == {"model", "recipe", "text", "tokens", "seed"},
        "config", sorted(config), "must have model, recipe, text, tokens and seed",
    )  # fmt: skip
    for part in ("model", "recipe", "text"):
        _need(isinstance(config[part], Mapping), f"config.{part}", config[part], "must be a mapping")
    for name in _MODEL_COUNTS:
        _integer(config["model"].get(name), f"config.model.{name}", 1)
    for name in ("name", "sha256"):
        value = config["text"].get(name)
        _need(isinstance(value, str) and bool(value), f"config.text.{name}", value, "must be text")
    _need(bool(_NAME.fullmatch(record.text)), "config.text.name", record.text, "cannot name a folder")
    for name in ("learning_rate", "batch_sequences"):
        value = config["recipe"].get(name)
        good = value is None or (_is_number(value) and value > 0)
        _need(good, f"config.recipe.{name}", value, "must be a positive number")
    _integer(config["tokens"], "config.tokens", 1)
    _integer(config["seed"], "config.seed", 0)
    _integer(record.numerics, "numerics", 1)
    _need(record.status in STATUSES, "status", record.status, f"must be one of {', '.join(STATUSES)}")
    for name in ("study", "reason", "finished", "purpose"):
        _need(isinstance(getattr(record, name), str), name, getattr(record, name), "must be text")
    check_purpose(record.purpose)
    for name in ("measures", "curve", "cost", "environment", "scores"):
        _need(isinstance(getattr(record, name), Mapping), name, getattr(record, name), "must be a mapping")
    mappings = isinstance(record.history, tuple) and all(isinstance(a, Mapping) for a in record.history)
    _need(mappings, "history", record.history, "must be a list of mappings")
    for name, value in record.cost.items():
        _need(value is None or _is_number(value), f"cost.{name}", value, "must be a number or null")
    for name, value in record.measures.items():
        listed = value if isinstance(value, list) and name.endswith("_by_layer") else [value]
        ok = value is None or all(map(_is_number, listed))
        _need(ok, f"measures.{name}", value, "must be a number or null, or numbers by layer")
    _validate_measures(record)
    if record.scores:
        _validate_scores(record)


def _validate_measures(record: Record) -> None:
    measures = record.measures
    for name in _POSITIVE:
        if measures.get(name) is not None:
            _need(measures[name] > 0, f"measures.{name}", measures[name], "must be positive")
    if measures.get("tokens") is not None:
        same = measures["tokens"] == record.tokens
        _need(same, "measures.tokens", measures["tokens"], f"config.tokens is {record.tokens}")
    if record.done:
        for name in DONE_MEASURES:
            _need(measures.get(name) is not None, f"measures.{name}", None, "missing in a run that is done")
        _need(not record.reason, "reason", record.reason, "a run that is done has none")
    else:
        for name in LOSS_MEASURES:
            value = measures.get(name)
            _need(value is None, f"measures.{name}", value, f"a run that {record.status} has no loss")
        _need(bool(record.reason), "reason", record.reason, f"must say why the run is {record.status}")


def _validate_scores(record: Record) -> None:
    _need(record.done, "scores", "...", f"a run that {record.status} has none")
    tasks = record.scores.get("tasks")
    _need(isinstance(tasks, Mapping), "scores.tasks", tasks, "must be a mapping")
    items = record.scores.get("items")
    known = isinstance(items, Mapping) and re.fullmatch("[0-9a-f]{64}", str(items.get("sha256")))
    _need(bool(known), "scores.items", items, "must have the sha256 of the file of items")
    for task, entry in tasks.items():
        where = f"scores.tasks.{task}"
        _need(isinstance(entry, Mapping), where, entry, "must be a mapping")
        status, reason = entry.get("status"), entry.get("reason")
        known = ", ".join(SCORE_STATUSES)
        _need(status in SCORE_STATUSES, f"{where}.status", status, f"must be one of {known}")
        if status != "done":
            given = isinstance(reason, str) and bool(reason)
            _need(given, f"{where}.reason", reason, f"must say why it is {status}")
            _need("score" not in entry, f"{where}.score", entry.get("score"), f"is {status}, so has none")
            continue
        _integer(entry.get("items"), f"{where}.items", 1)
        for name in ("score", "chance"):
            _need(_is_number(entry.get(name)), f"{where}.{name}", entry.get(name), "must be a number")
        error = entry.get("stderr")
        _need(error is None or _is_number(error), f"{where}.stderr", error, "must be a number or null")
