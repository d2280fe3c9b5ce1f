"""The configuration of one run, its key, and what can be said of it before it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from moebook.architecture import ModelConfig, counts
from moebook.errors import InputError
from moebook.files import stored
from moebook.runs import run_key
from moebook.train.numerics import NUMERICS
from moebook.train.recipe import Recipe


@dataclass(frozen=True)
class TextIdentity:
    """Which text: a name for people, a checksum for the key."""

    name: str
    sha256: str


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run's numbers, but for the machine: two runs of one configuration have one key."""

    model: ModelConfig
    recipe: Recipe
    text: TextIdentity
    tokens: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain nested mappings, as a record stores them; options that came later only where they are set."""
        return stored(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The inverse of `to_dict`. Raises InputError naming an unknown or missing field."""
        parts = {"model": ModelConfig, "recipe": Recipe, "text": TextIdentity}
        unknown = set(values) ^ {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"run: {sorted(unknown)[0]}: missing or unknown field")
        try:
            return cls(**{name: parts[name](**v) if name in parts else v for name, v in values.items()})
        except TypeError as error:
            raise InputError(f"run: {error}") from error

    @property
    def key(self) -> str:
        """The record's name: hash of configuration, text and numerics version."""
        return run_key(self.to_dict(), NUMERICS)

    @property
    def batch_tokens(self) -> int:
        """Tokens of one step."""
        return self.recipe.batch_sequences * self.model.context

    @property
    def steps(self) -> int:
        """Whole steps that `tokens` make."""
        return self.tokens // self.batch_tokens


def run_measures(config: RunConfig) -> dict[str, Any]:
    """What is known of a run before it is trained: parameters (counts), tokens, FLOPs."""
    found = counts(config.model)
    return {
        "params": found.params,
        "params_active": found.params_active,
        "params_nonembedding": found.params_nonembedding,
        "params_active_nonembedding": found.params_active_nonembedding,
        "sparsity": config.model.sparsity,
        "tokens": config.tokens,
        "flops_per_token": found.flops_per_token,
        "compute_flops": found.flops_per_token * config.tokens,
    }
