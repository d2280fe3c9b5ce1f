"""A study as written down: a YAML file read into frozen dataclasses, every field checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import yaml

from moebook.architecture import Family
from moebook.errors import InputError
from moebook.runs.sound import check_purpose
from moebook.scores import ScoreSpec
from moebook.text import TextSpec
from moebook.train import Recipe

T = TypeVar("T")
#: No model here is wider; a number beyond is a slip of the hand.
WIDEST = 2**20
#: Every text is read byte by byte.
SYMBOLS = 256
_FIELDS = (
    "name", "title", "purpose", "text", "family", "recipe", "rate_sparsity_power", "sparsities", "seeds",
    "grid", "scores",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A full grid: every budget with every sparsity, width and seed.

    budgets: training FLOPs C. sparsities: S. widths: residual width d. seeds: initialisation and data order.
    recipe: how these runs are trained. family: which models they are.
    """

    budgets: tuple[float, ...]
    sparsities: tuple[float, ...]
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    family: Family


@dataclass(frozen=True)
class Study:
    """Many runs on one text: the union of the blocks of `grid`; a run in two blocks is one run.

    rate_sparsity_power: p of the rule by which the learning rate falls with sparsity: a model of sparsity S
    is trained at the recipe's rate times (1 - S)^p, since an expert sees a share 1 - S of a batch.
    purpose: "" where laws are to be fitted to the runs; else what they are for, as in "tuning" or "held-out".
    scores: what every run is scored on at its end; None is nothing. No part of a run's key.
    """

    name: str
    title: str
    text: TextSpec
    family: Family
    grid: tuple[Block, ...]
    rate_sparsity_power: float = 0.0
    scores: ScoreSpec | None = None
    purpose: str = ""
    path: Path = field(default=Path(), compare=False)

    def recipe_at(self, recipe: Recipe, sparsity: float) -> Recipe:
        """A block's recipe with the rate of this sparsity; six digits, for a hash the same everywhere.

        Raises InputError where the power makes that no rate.
        """
        try:
            rate = recipe.learning_rate * (1 - sparsity) ** self.rate_sparsity_power
        except OverflowError:
            rate = float("inf")
        if not 0 < rate < 1e6:
            power = self.rate_sparsity_power
            raise InputError(f"rate_sparsity_power: {power:g}: makes a learning rate of {rate:g}")
        return replace(recipe, learning_rate=float(f"{rate:.6g}"))


def find_study(name: str, folder: Path | str = "studies") -> Path:
    """The file of a study: `name` itself if it is a path to a YAML file, else `folder/name.yml`.

    Raises InputError naming the path that was looked for and the studies that are there.
    """
    path = Path(name) if name.endswith((".yml", ".yaml")) else Path(folder) / f"{name}.yml"
    if not os.path.isfile(path):  # False, too, for a name that no file could have
        known = ", ".join(sorted(p.stem for p in Path(folder).glob("*.yml"))) or "none"
        raise InputError(f"{path}: no such study (studies in {folder}: {known})")
    return path


def read_study(path: Path | str) -> Study:
    """Read a study file. Raises InputError naming the file, the field and the value."""
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; a nest without end
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return replace(_study(content), path=path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _study(content: Any) -> Study:
    given = _mapping(content, "study", _FIELDS)
    for name in ("name", "text", "grid"):
        if name not in given:
            raise InputError(f"{name}: missing")
    for name in ("name", "title", "purpose"):
        if not isinstance(given.get(name, ""), str):
            raise InputError(f"{name}: {given[name]!r}: must be text")
    try:
        check_purpose(given.get("purpose", ""))
    except InputError as error:
        raise InputError(str(error).removeprefix("record: ")) from error
    family = _family(given.get("family", {}), "family")
    recipe = typed(Recipe, given.get("recipe", {}), "recipe")
    if not isinstance(given["grid"], list) or not given["grid"]:
        raise InputError(f"grid: {given['grid']!r}: must be a list of blocks")
    shared = {name: given[name] for name in ("sparsities", "seeds") if name in given}
    for name, value in shared.items():  # also where every block has its own
        _numbers(name, value)
    blocks = tuple(
        _block(shared, block, f"grid[{i}]", recipe, family) for i, block in enumerate(given["grid"])
    )
    text = typed(TextSpec, given["text"], "text")
    power = read_number(given.get("rate_sparsity_power", 0.0), "rate_sparsity_power")
    scores = _scores(given["scores"]) if "scores" in given else None
    study = Study(given["name"], given.get("title", ""), text, family, blocks, power, scores,
                  given.get("purpose", ""))  # fmt: skip
    for i, block in enumerate(blocks):
        for width in block.widths:
            for sparsity in block.sparsities:
                try:
                    block.family.config(width, sparsity)
                    study.recipe_at(block.recipe, sparsity)
                except InputError as error:
                    raise InputError(f"grid[{i}]: width {width}, sparsity {sparsity:g}: {error}") from error
    return study


def _scores(content: Any) -> ScoreSpec:
    given = dict(_mapping({} if content is None else content, "scores", ("tasks", "other")))
    if "other" in given:
        given["other"] = typed(TextSpec, given["other"], "scores: other")
    if "tasks" in given:
        listed = given["tasks"] if isinstance(given["tasks"], list) else [given["tasks"]]
        if not all(isinstance(name, str) for name in listed):
            raise InputError(f"scores: tasks: {listed!r}: must be a list of texts")
        given["tasks"] = tuple(listed)
    return ScoreSpec(**given)


def _block(
    shared: Mapping[str, Any], content: Any, where: str, recipe: Recipe, family: Family
) -> Block:
    given = _mapping(content, where, ("budgets", "sparsities", "widths", "seeds", "recipe", "family"))
    recipe = typed(Recipe, given.get("recipe", {}), f"{where}: recipe", recipe)
    family = _family(given.get("family", {}), f"{where}: family", family)
    given = dict(shared) | dict(given)
    values: dict[str, tuple[Any, ...]] = {}
    for name in _NUMBERS:
        if name not in given:
            raise InputError(f"{where}: {name}: missing")
        values[name] = _numbers(f"{where}: {name}", given[name])
    return Block(**values, recipe=recipe, family=family)


#: What the numbers of a block must be, in words and as a test.
_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "budgets": ("must be a number of FLOPs from 1 to 1e30", lambda v: 1 <= v <= 1e30),
    "sparsities": ("must lie in [0, 1)", lambda v: 0 <= v < 1),
    "widths": (f"must be a whole number from 1 to {WIDEST}", lambda v: 1 <= v <= WIDEST and v == int(v)),
    "seeds": (f"must be a whole number from 0 to {2**53 - 1}", lambda v: 0 <= v < 2**53 and v == int(v)),
}


def _numbers(where: str, given: Any) -> tuple[Any, ...]:
    """The number or list of numbers of the field that `where` ends with."""
    name = where.rpartition(": ")[2]
    rule, accept = _NUMBERS[name]
    listed = given if isinstance(given, list) else [given]
    numbers = [read_number(value, where) for value in listed]
    for value, number in zip(listed, numbers, strict=True):
        if not accept(number):
            raise InputError(f"{where}: {value!r}: {rule}")
    if not numbers or len(set(numbers)) < len(numbers):
        raise InputError(f"{where}: {listed!r}: must be a list without repeats")
    return tuple(int(v) for v in numbers) if name in ("widths", "seeds") else tuple(numbers)


def _family(content: Any, where: str, base: Family | None = None) -> Family:
    """The models of a study, which read bytes, each by those before it."""
    family = typed(Family, content, where, base)
    for name, least, why in (
        ("vocab", SYMBOLS, f"the text has {SYMBOLS} symbols"),
        ("context", 2, "of one token alone nothing is attended to"),
    ):
        if getattr(family, name) < least:
            raise InputError(f"{where}: {name}: {getattr(family, name)}: must be at least {least}: {why}")
    return family


def typed(cls: type[T], content: Any, where: str, base: T | None = None) -> T:
    """A flat frozen dataclass from a mapping, over the defaults of `cls` or the values of `base`.

    Raises InputError naming the field and the value where a field is unknown or of another type.
    """
    kinds = {f.name: str(f.type) for f in fields(cls)}
    values = {}
    for name, value in _mapping(content, where, tuple(kinds)).items():
        kind = kinds[name]
        if kind == "float":
            value = read_number(value, f"{where}: {name}")
        elif kind.startswith("tuple[str"):
            value = tuple(value) if isinstance(value, list) else (value,)
            if not all(isinstance(item, str) for item in value):
                raise InputError(f"{where}: {name}: {list(value)!r}: must be a list of texts")
        else:
            expected = {"int": int, "str": str, "bool": bool}[kind]
            if not isinstance(value, expected) or isinstance(value, bool) != (expected is bool):
                raise InputError(f"{where}: {name}: {value!r}: must be of type {kind}")
            if kind == "int" and abs(value) >= 2**53:
                digits = len(str(abs(value)))
                raise InputError(f"{where}: {name}: a number of {digits} digits: beyond all sense")
        values[name] = value
    try:
        return cls(**values) if base is None else replace(base, **values)
    except InputError as error:
        own = where.rpartition(": ")[2]  # as in `recipe: `, with which the class's own message begins
        raise InputError(f"{where}: {str(error).removeprefix(f'{own}: ')}") from error
    except TypeError as error:
        missing = sorted(name for name in kinds if f"'{name}'" in str(error))
        raise InputError(f"{where}: {', '.join(missing) or error}: missing") from error


def _mapping(content: Any, where: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise InputError(f"{where}: {content!r}: must be a mapping")
    for name in content:
        if name not in allowed:
            raise InputError(f"{where}: {name}: unknown field (known: {', '.join(allowed)})")
    return content


def read_number(value: Any, where: str) -> float:
    """A number as YAML gives it, or written as 3e10 or 15/16, which YAML leaves as text."""
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(Fraction(value)) if isinstance(value, str) and "/" in value else float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError
    except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{where}: {value!r}: must be a number") from error
    return number


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which would keep the last of two equal names, made to refuse them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name_node, _ in node.value:
            name = self.construct_object(name_node, deep=True)
            if not isinstance(name, str) or name in seen:
                wrong = "is given twice" if isinstance(name, str) else "is no field's name"
                problem = f"{name} {wrong}"
                raise yaml.constructor.ConstructorError(None, None, problem, name_node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
