"""What `make bench` measured, typed: a result a machine, from benchmarks/results/<machine>.json.

Seconds are CPU seconds of one core for `feed_forwards` and `steps`, wall-clock seconds for `gpu`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moebook.book.paths import project_root
from moebook.errors import InputError

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward, forward and backward, beside plain dense of the same active FLOPs.

    ratio: by variant, its seconds over plain dense's ("ours", "our dense", "transformers", ...); floor: what
    "ours" could be if all but the products were as cheap as in the dense one; met: whether ours is within
    the bar; met_transformers: whether it is no slower than transformers.
    """

    tokens: int
    width: int
    expert_width: int
    experts: int
    active: int
    seconds: Mapping[str, float]
    ratio: Mapping[str, float]
    floor: float
    bar: float
    over_transformers: float
    met: bool
    met_transformers: bool

    @property
    def rows_per_expert(self) -> float:
        """Tokens that an expert gets under an even load."""
        return self.tokens * self.active / self.experts


@dataclass(frozen=True)
class Step:
    """One whole training step. experts = 1 is the dense twin.

    seconds: of "ours", "transformers", and "product", a square product that took turns with them; share:
    useful FLOPs over those of that product in the same time, and its bar; faster: tokens per second over
    transformers' of the same model, and its bar.
    """

    width: int
    experts: int
    active: int
    sparsity: float
    tokens: int
    flops_per_token: float
    params: int
    seconds: Mapping[str, float]
    share: float
    bar: float | None
    faster: float
    peer_bar: float
    met: bool
    met_peer: bool

    def time(self, library: str = "ours") -> float:
        """Time in units of the square product's: steps that were not timed in turn compare by this alone."""
        return self.seconds[library] / self.seconds["product"]


@dataclass(frozen=True)
class GpuStep:
    """One whole training step on a card; None where there was nothing to compare with."""

    width: int
    experts: int
    params: int
    flops_per_token: float
    tokens_per_second: float
    share: float
    share_stated: float | None
    over_dense: float | None
    bar: float | None
    met: bool | None
    over_transformers: float | None


@dataclass(frozen=True)
class Gpu:
    """One card. product_tflops: of a square bf16 product in the same run; public: what other libraries
    report, tokens per second over the dense twin's, {library and card: {active parameters: ratio}}."""

    device: str
    product_tflops: float
    public: Mapping[str, Mapping[str, float]]
    rows: tuple[GpuStep, ...]


@dataclass(frozen=True)
class Result:
    """One machine."""

    machine: str
    hardware: str
    commit: str
    measured: str
    rounds: int
    feed_forwards: tuple[FeedForward, ...]
    steps: tuple[Step, ...]
    gpu: Gpu | None


def results_folder() -> Path:
    """Where `make bench` writes."""
    return project_root() / "benchmarks" / "results"


def load_results(folder: Path | None = None) -> list[Result]:
    """Every machine's result, by file name. InputError, naming file and field, where one is not sound, and
    where there is none."""
    folder = folder or results_folder()
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder}: no result of a benchmark: run `make bench`")
    return [_result(path) for path in paths]


def _result(path: Path) -> Result:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no JSON that can be read: {error}") from error
    whole = _Fields(content, str(path))
    environment = _Fields(whole.get("environment", dict), f"{path}: environment")
    gpu = whole.get("gpu", (dict, str))
    if isinstance(gpu, str) and gpu != NOT_MEASURED:
        raise InputError(f"{path}: gpu: {gpu!r}: must be figures or {NOT_MEASURED!r}")
    return Result(
        machine=path.stem, hardware=environment.get("hardware", str), commit=environment.get("commit", str),
        measured=whole.get("measured", str), rounds=whole.get("rounds", int),
        feed_forwards=tuple(_feed_forward(fields) for fields in whole.each("experts")),
        steps=tuple(_step(fields) for fields in whole.each("steps")),
        gpu=None if isinstance(gpu, str) else _gpu(_Fields(gpu, f"{path}: gpu")),
    )  # fmt: skip


def _feed_forward(row: _Fields) -> FeedForward:
    shape = _Fields(row.get("shape", dict), f"{row.where}: shape")
    return FeedForward(
        **{name: shape.count(name) for name in ("tokens", "width", "expert_width", "experts", "active")},
        seconds=row.numbers("cpu_seconds", ("dense", "ours", "transformers")),
        ratio=row.numbers("ratio", ("our dense", "ours", "transformers")),
        **{name: row.number(name) for name in ("floor", "bar", "over_transformers")},
        **{name: row.get(name, bool) for name in ("met", "met_transformers")},
    )


def _step(row: _Fields) -> Step:
    return Step(
        **{name: row.count(name) for name in ("width", "experts", "active", "tokens", "params")},
        sparsity=row.number("sparsity", above=-1.0), bar=row.number("bar", empty=True),
        seconds=row.numbers("cpu_seconds", ("ours", "transformers", "product")),
        **{name: row.number(name) for name in ("flops_per_token", "share", "faster", "peer_bar")},
        **{name: row.get(name, bool) for name in ("met", "met_peer")},
    )  # fmt: skip


def _gpu(found: _Fields) -> Gpu:
    public = found.get("public", dict)
    named = {name: _Fields(public, f"{found.where}: public").numbers(name, ()) for name in public}
    return Gpu(
        device=found.get("device", str), product_tflops=found.number("product_tflops"), public=named,
        rows=tuple(
            GpuStep(
                **{name: row.count(name) for name in ("width", "experts", "params")},
                **{name: row.number(name) for name in ("flops_per_token", "tokens_per_second", "share")},
                **{
                    name: row.number(name, empty=True)
                    for name in ("share_stated", "over_dense", "bar", "over_transformers")
                },
                met=row.get("met", (bool, type(None))),
            )
            for row in found.each("rows")
        ),
    )  # fmt: skip


class _Fields:
    """The fields of one JSON object, each checked as it is read."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise InputError(f"{where}: must be a JSON object")
        self.content, self.where = content, where

    def get(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = self.content.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise InputError(f"{self.where}: {name}: {value!r}: is not what `make bench` writes")
        return value

    def count(self, name: str) -> int:
        value = self.get(name, int)
        if value < 1:
            raise InputError(f"{self.where}: {name}: {value}: must be at least 1")
        return value

    def number(self, name: str, above: float = 0.0, empty: bool = False) -> Any:
        """A finite number larger than `above`; or None, if it may be empty."""
        value = self.content.get(name)
        if value is None and empty:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < float("inf"):
            raise InputError(f"{self.where}: {name}: {value!r}: must be a number above {above:g}")
        return float(value)

    def numbers(self, name: str, needed: tuple[str, ...]) -> dict[str, float]:
        """An object of positive numbers that holds all that is needed."""
        inside = _Fields(self.get(name, dict), f"{self.where}: {name}")
        return {key: inside.number(key) for key in dict.fromkeys((*needed, *inside.content))}

    def each(self, name: str) -> list[_Fields]:
        return [_Fields(row, f"{self.where}: {name}[{i}]") for i, row in enumerate(self.get(name, list))]
