"""Anchors, out of a store's runs: what one model, tokens, batch and recipe gave at several rates."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from moebook.errors import InputError
from moebook.runs import Record, Store, read_rows
from moebook.runs.sound import HELD_OUT
from moebook.train import Recipe

#: Rates are neighbours if they differ by this factor at least: between nearer ones noise hides the slope.
APART = 1.5


@dataclass(frozen=True)
class Anchor:
    """What one model, number of tokens, batch and recipe gave at several rates.

    points: (rate, seed, loss_nats) of each run; recipe: what else was set, rate and batch apart, as canonical
    text.
    """

    width: int
    sparsity: float
    params: int
    tokens: int
    compute_flops: float
    batch_tokens: int
    recipe: str
    points: tuple[tuple[float, int, float], ...]

    @functools.cached_property
    def rates(self) -> tuple[float, ...]:
        """The rates that were tried, ascending."""
        return tuple(sorted({rate for rate, _, _ in self.points}))

    @functools.cached_property
    def losses_nats(self) -> tuple[float, ...]:
        """The loss at each of `rates`: the mean over seeds, as if each had been tried with every seed."""
        seeds = sorted({seed for _, seed, _ in self.points})
        design = [
            [*(rate == r for r in self.rates), *(seed == s for s in seeds[1:])]
            for rate, seed, _ in self.points
        ]
        losses = [loss for _, _, loss in self.points]
        found, *_ = np.linalg.lstsq(np.array(design, float), np.array(losses), rcond=None)
        return tuple(map(float, found[: len(self.rates)] + found[len(self.rates) :].sum() / len(seeds)))

    def with_seeds(self, seeds: set[int]) -> Anchor:
        """The same of these seeds alone."""
        return replace(self, points=tuple(point for point in self.points if point[1] in seeds))

    @property
    def unsparsity(self) -> float:
        """1 - S."""
        return 1 - self.sparsity

    @property
    def best_rate(self) -> float:
        """The rate of the lowest loss among those tried."""
        return self.rates[int(np.argmin(self.losses_nats))]

    @property
    def bracketed(self) -> bool:
        """Whether rates `APART` below and above the best were tried."""
        return self.rates[0] * APART <= self.best_rate <= self.rates[-1] / APART

    def parabola(self) -> tuple[float, float, float] | None:
        """(bottom in log2 of the rate, loss there, curvature) of the best rate and its neighbours.

        None unless the best rate is bracketed, and where these do not bend upwards.
        """
        if not self.bracketed:
            return None
        low = max(rate for rate in self.rates if rate * APART <= self.best_rate)
        high = min(rate for rate in self.rates if rate >= self.best_rate * APART)
        near = [low <= rate <= high for rate in self.rates]
        curve = np.polyfit(np.log2(self.rates)[near], np.array(self.losses_nats)[near], 2)
        if curve[0] <= 0:
            return None
        bottom = -curve[1] / (2 * curve[0])
        return float(bottom), float(np.polyval(curve, bottom)), float(curve[0])


def anchors_of_study(name: str, runs: Path | str = "runs") -> list[Anchor]:
    """The anchors among the runs that a study of this name asked for first, with all other runs at them.

    A cell that another study had run before is stored under that study's name, and tells as much; so does a
    run at another rate. A seed that the study has not trained there would tell nothing of rates, as it has no
    run to be compared with. What is held out serves nothing else. Raises InputError if the study has no run.
    """
    store = Store(runs)
    done = [row for row in read_rows(store) if row["status"] == "done"]
    own = [row for row in done if row["study"] == name]
    if not own:
        raise InputError(f"{store.records}: study: {name}: no run that is done")
    cells = {_cell(row) for row in own}  # the rows that may be of an anchor: few files need be read
    others = [row for row in done if row["purpose"] != HELD_OUT and _cell(row) in cells]
    others = [row for row in others if row["study"] != name]
    asked, there = (
        [record for row in rows if (record := store.get(row["key"])) is not None] for rows in (own, others)
    )
    trained = {(_name(record), record.seed) for record in asked}
    return anchors([*asked, *(record for record in there if (_name(record), record.seed) in trained)])


def _cell(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("text_sha256", "numerics", "width", "sparsity", "tokens", "batch_tokens")
    return tuple(row[name] for name in names)


def _name(record: Record) -> str:
    """What the runs of one anchor have in common: all but rate and seed."""
    recipe = {**record.recipe, "learning_rate": None}
    return json.dumps(
        [record.model, recipe, record.config["text"], record.tokens, record.numerics], sort_keys=True
    )


def main_recipe(found: Sequence[Anchor]) -> list[Anchor]:
    """The anchors of the recipe that most of them have: a rule is one of one recipe."""
    recipes = [anchor.recipe for anchor in found]
    most = max(set(recipes), key=lambda recipe: (recipes.count(recipe), recipe), default="")
    return [anchor for anchor in found if anchor.recipe == most]


def differences(anchor: Anchor, other: Anchor) -> str:
    """What an anchor's recipe has otherwise than another's, as in "query_key_scale 1"; "" if nothing."""
    defaults = {field.name: field.default for field in fields(Recipe)}
    mine, its = (defaults | json.loads(each.recipe) for each in (anchor, other))
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sorted(mine.items())
        if value != its.get(name)
    )


def anchors(records: Iterable[Record]) -> list[Anchor]:
    """The anchors among runs that are done, ordered by compute, width, sparsity and batch."""
    found: dict[str, dict[float, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.done:
            rate = record.recipe.get("learning_rate")
            if rate is None:
                raise InputError(f"{record.key}: config.recipe.learning_rate: missing")
            found[_name(record)][rate].append(record)
    return sorted(map(_anchor, found.values()), key=lambda a: (
        float(f"{a.compute_flops:.1e}"), a.width, a.sparsity, a.batch_tokens, a.recipe,
    ))  # fmt: skip


def _anchor(runs: dict[float, list[Record]]) -> Anchor:
    rates = sorted(runs)
    one = runs[rates[0]][0]
    rest = {n: v for n, v in one.recipe.items() if n not in ("learning_rate", "batch_sequences")}
    return Anchor(
        width=one.model["width"], sparsity=one.measures["sparsity"], params=one.measures["params"],
        tokens=one.tokens, compute_flops=one.measures["compute_flops"],
        batch_tokens=one.recipe["batch_sequences"] * one.model["context"],
        recipe=json.dumps(rest, sort_keys=True),
        points=tuple(sorted((rate, r.seed, r.measures["loss_nats"]) for rate in rates for r in runs[rate])),
    )  # fmt: skip
