"""What a study costs before it is run: its cells, grouped into trunks that share their training.

A trunk is one model, recipe, text and seed, trained at a constant rate; each of its cells is a branch that
decays off the trunk so as to end at its own number of tokens. The trunk of three budgets costs the longest
run and the decays of the other two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moebook.architecture import ModelConfig, counts
from moebook.errors import InputError
from moebook.runs import run_key
from moebook.study.spec import Study, read_number
from moebook.train import NUMERICS, Recipe, RunConfig, TextIdentity


@dataclass(frozen=True)
class Cell:
    """One planned run: `budget_flops` as the study says, `compute_flops` and `tokens` in whole batches."""

    budget_flops: float
    config: RunConfig
    compute_flops: float
    key: str

    @property
    def tokens(self) -> int:
        return self.config.tokens

    @property
    def steps(self) -> int:
        return self.config.steps


@dataclass(frozen=True)
class Trunk:
    """Runs that share one training up to their decays; `cells` in order of tokens."""

    model: ModelConfig
    recipe: Recipe
    text: TextIdentity
    seed: int
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """16 hex digits that every trunk of this model, recipe, text and seed has, whatever its cells."""
        shared = self.cells[0].config.to_dict() | {"tokens": None}
        return run_key(shared, NUMERICS)

    @property
    def flops_per_token(self) -> float:
        return counts(self.model).flops_per_token

    def trained_tokens(self) -> dict[str, int]:
        """Tokens trained for each cell, by key: all of them for the longest, its decay for each other."""
        *shorter, longest = self.cells
        return {
            cell.key: (cell.steps - self.recipe.decay_start(cell.steps)) * cell.config.batch_tokens
            for cell in shorter
        } | {longest.key: longest.tokens}

    @property
    def flops(self) -> float:
        """Training FLOPs of all its cells, each decay once."""
        return self.flops_per_token * sum(self.trained_tokens().values())

    def only(self, keys: set[str]) -> Trunk | None:
        """The trunk with only the cells of these keys; None if it has none of them."""
        cells = tuple(cell for cell in self.cells if cell.key in keys)
        return Trunk(self.model, self.recipe, self.text, self.seed, cells) if cells else None


def plan(study: Study, text: TextIdentity) -> list[Trunk]:
    """Every run of a study, as trunks in order of the study's grid.

    A cell's tokens are D = C / (FLOPs per token), rounded to whole batches; `text` is the name and checksum
    of the text that the study names.

    Raises InputError naming the file, block and field where a budget is below half a step, two budgets of one
    model round to the same number of steps, or a run's decay would begin before its warm-up is over: it would
    never be trained at the rate that the recipe names.
    """
    trunks: dict[tuple[ModelConfig, Recipe, int], dict[int, Cell]] = {}
    file = f"{study.path}: " if study.path.name else ""
    for i, block in enumerate(study.grid):
        for seed in block.seeds:
            for sparsity in block.sparsities:
                for width in block.widths:
                    model = block.family.config(width, sparsity)
                    recipe = study.recipe_at(block.recipe, sparsity)
                    cells = trunks.setdefault((model, recipe, seed), {})
                    for budget in block.budgets:
                        try:
                            _enter(cells, budget, model, recipe, text, seed)
                        except InputError as error:
                            where = f"{file}grid[{i}]: width {width}, sparsity {sparsity:g}"
                            raise InputError(f"{where}: {error}") from error
    return [
        Trunk(model, recipe, text, seed, tuple(cells[steps] for steps in sorted(cells)))
        for (model, recipe, seed), cells in trunks.items()
    ]


def _enter(
    cells: dict[int, Cell], budget: float, model: ModelConfig, recipe: Recipe, text: TextIdentity, seed: int
) -> None:
    flops_per_token = counts(model).flops_per_token
    batch_tokens = recipe.batch_sequences * model.context
    exact = budget / (flops_per_token * batch_tokens)
    if exact < 0.5:  # one step would be more than twice the budget
        raise InputError(f"budgets: {budget:g}: {exact:.2g} of one step of {budget / exact:.3g} FLOPs")
    steps = max(1, round(exact))
    if steps in cells:
        if cells[steps].budget_flops != budget:
            same = cells[steps].budget_flops
            raise InputError(f"budgets: {budget:g}: makes {steps} steps of training, as {same:g} does")
        return
    stable = recipe.decay_start(steps) * batch_tokens
    if recipe.warmup_tokens > stable:
        raise InputError(
            f"recipe: warmup_tokens: {recipe.warmup_tokens}: at {budget:g} FLOPs the decay begins after "
            f"{stable} tokens, before the warm-up is over"
        )
    config = RunConfig(model=model, recipe=recipe, text=text, tokens=steps * batch_tokens, seed=seed)
    cells[steps] = Cell(budget, config, float(flops_per_token * config.tokens), config.key)


def cells_of(trunks: Sequence[Trunk]) -> list[tuple[Trunk, Cell]]:
    """All cells with their trunks, by budget, sparsity, width and seed."""
    pairs = [(trunk, cell) for trunk in trunks for cell in trunk.cells]
    return sorted(
        pairs, key=lambda p: (p[1].budget_flops, p[0].model.sparsity, p[0].model.width, p[0].seed, p[1].key)
    )


def missing(trunks: Sequence[Trunk], statuses: Mapping[str, str], retry: bool = False) -> list[Trunk]:
    """The trunks with only the cells that have no record, or, if `retry`, none that is done."""
    settled = {key for key, status in statuses.items() if status == "done" or not retry}
    kept = (trunk.only({cell.key for cell in trunk.cells} - settled) for trunk in trunks)
    return [trunk for trunk in kept if trunk is not None]


def select(trunks: Sequence[Trunk], only: Sequence[str]) -> list[Trunk]:
    """The cells that meet every condition `name=value[,value...]`; names: budget, sparsity, width, seed, key.

    Raises InputError where a condition cannot be read, or nothing meets all of them.
    """
    chosen = list(cells_of(trunks))
    for condition in only:
        name, _, listed = condition.partition("=")
        if name not in _FACTORS or not listed:
            raise InputError(f"--only: {condition!r}: must be NAME=VALUE, NAME one of {', '.join(_FACTORS)}")
        texts = listed.split(",")
        if name == "key":
            chosen = [pair for pair in chosen if pair[1].key.startswith(tuple(texts))]
        else:
            wanted = {read_number(text, f"--only: {name}") for text in texts}
            chosen = [pair for pair in chosen if _FACTORS[name](*pair) in wanted]
    if not chosen:
        raise InputError(f"--only: {' '.join(only)}: no cell of the study meets this")
    keys = {cell.key for _, cell in chosen}
    return [trunk for trunk in (trunk.only(keys) for trunk in trunks) if trunk is not None]


_FACTORS: dict[str, Any] = {
    "budget": lambda trunk, cell: cell.budget_flops,
    "sparsity": lambda trunk, cell: trunk.model.sparsity,
    "width": lambda trunk, cell: trunk.model.width,
    "seed": lambda trunk, cell: trunk.seed,
    "key": lambda trunk, cell: cell.key,
}
