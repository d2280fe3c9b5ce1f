"""What makes a record sound: every field of the right kind, and none that contradicts another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moebook.errors import InputError

if TYPE_CHECKING:
    from moebook.runs.record import Record

STATUSES = ("done", "diverged", "failed")
#: What a finished run must have measured; a run that did not finish may lack any of them. Not the loss's
#: standard error: one held-out document has none.
DONE_MEASURES = (
    "params", "params_active", "params_nonembedding", "params_active_nonembedding", "sparsity",
    "tokens", "compute_flops", "flops_per_token", "loss_nats", "bits_per_byte",
)  # fmt: skip
#: How a task of `scores` may have ended.
SCORE_STATUSES = ("done", "failed", "not measured")
#: Measures of a trained model; a run that did not finish has none of them.
LOSS_MEASURES = ("loss_nats", "loss_stderr_nats", "bits_per_byte", "train_loss_nats", "balance_loss")
_POSITIVE = ("params", "params_active", "tokens", "compute_flops", "flops_per_token", "loss_nats")
_MODEL_COUNTS = ("width", "layers", "context", "experts", "active", "granularity")
#: The purpose of runs that are forecast before they are made, and serve nothing else.
HELD_OUT = "held-out"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    points = [record.curve.get(name) for name in ("tokens", "loss_nats")] if record.curve else [[], []]
    listed = all(isinstance(one, list) and {type(value) for value in one} <= {int, float} for one in points)
    same = listed and len(points[0]) == len(points[1])
    _need(same, "curve", "...", "must be tokens and loss_nats, two lists of as many numbers")
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
        _need("stderr" in entry, f"{where}.stderr", None, "missing")
        _need(isinstance(entry.get("unit"), str), f"{where}.unit", entry.get("unit"), "must be text")
        error = entry["stderr"]
        _need(error is None or _is_number(error), f"{where}.stderr", error, "must be a number or null")
