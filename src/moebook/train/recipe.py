"""How a model is trained: optimiser, rate, schedule, batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from moebook.errors import InputError
from moebook.files import later


@dataclass(frozen=True)
class Recipe:
    """AdamW with a warm-up, a stable rate and a linear decay to zero (Hu et al. 2024; Haegele et al. 2024).

    Attributes:
        learning_rate: rate at width 64; a model of width d is trained at `learning_rate * sqrt(64 / d)`.
        batch_sequences: sequences of a step; a step sees `batch_sequences * context` tokens.
        warmup_tokens: length of the linear warm-up. In tokens, not as a share of the run, so that runs of
            different length are one trunk until they decay.
        decay_share: share of the run over which the rate falls linearly to zero.
        weight_decay: taken off the matrices at each step, times nothing: independent of the rate.
        clip: largest norm of the gradient.
        balance_weight, z_weight: weights of the router's losses (Switch form; see `moebook.model.router`).
        bias_rate: how far each expert's selection bias moves after a step, towards even load (Wang et al.
            2024; see `moebook.model.router`); 0 is without. The biases are added to probabilities, whose
            mean is 1 / E: a rate is small or large beside that.
        query_key_scale: factor of the initial deviation of the query and key projections. Behind QK-norm it
            leaves the first forward pass as it was; the gradient of a smaller matrix turns it faster.
        precision: "fp32", "bf16" (autocast) or "auto", which is fp32 on a CPU and bf16 on a CUDA GPU.
    """

    learning_rate: float = 4e-3
    batch_sequences: int = 4
    warmup_tokens: int = 32_768
    decay_share: float = 0.2
    weight_decay: float = 1e-5
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    clip: float = 1.0
    balance_weight: float = 0.02
    z_weight: float = 0.0
    precision: str = "auto"
    bias_rate: float = later(0.0)
    query_key_scale: float = later(1.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "str":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(f"recipe: {field.name}: {value!r}: must be a number")
            if field.type == "int" and not isinstance(value, int):
                raise InputError(f"recipe: {field.name}: {value!r}: must be a whole number")
        for name in ("learning_rate", "batch_sequences", "epsilon", "clip", "query_key_scale"):
            if getattr(self, name) <= 0:
                raise InputError(f"recipe: {name}: {getattr(self, name)!r}: must be positive")
        for name in ("warmup_tokens", "weight_decay", "balance_weight", "z_weight", "bias_rate"):
            if getattr(self, name) < 0:
                raise InputError(f"recipe: {name}: {getattr(self, name)!r}: must not be negative")
        for name in ("beta1", "beta2", "decay_share"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"recipe: {name}: {getattr(self, name)!r}: must lie in [0, 1)")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise InputError(f"recipe: precision: {self.precision!r}: must be auto, fp32 or bf16")

    def peak_rate(self, width: int) -> float:
        """The stable learning rate of a model of this width."""
        return self.learning_rate * math.sqrt(64 / width)

    def decay_start(self, steps: int) -> int:
        """The step at which a run of `steps` steps starts to decay."""
        return steps - math.ceil(self.decay_share * steps)


def learning_rate_at(recipe: Recipe, width: int, context: int, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) in a run of `steps` steps.

    Before the decay it does not depend on `steps`. The last step has a rate above zero: the line reaches
    zero one step later.
    """
    warmup_steps = recipe.warmup_tokens / (recipe.batch_sequences * context)
    rate = recipe.peak_rate(width) * min(1.0, (step + 1) / warmup_steps if warmup_steps else 1.0)
    start = recipe.decay_start(steps)
    return rate if step < start else rate * (steps - step) / (steps - start + 1)
