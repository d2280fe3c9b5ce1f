"""A family of models: one rule that turns a width and a sparsity into a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from moebook.architecture.accounting import Counts, count
from moebook.architecture.config import ModelConfig
from moebook.errors import InputError
from moebook.files import later


@dataclass(frozen=True)
class Family:
    """Models that differ in width and sparsity alone.

    Attributes:
        layers, vocab, context: as in ModelConfig.
        ffn_ratio: d_ffn = ffn_ratio * width.
        granularity, active, shared_experts: G, K and the shared experts of the sparse members; the dense
            member is one whole feed-forward and has none. The active width is (K + shared) d_ffn / G, so
            with K + shared = G every member has the active feed-forward FLOPs of its dense twin. Sparsity
            is that of the routed experts.
        head_width: the head width aimed at; a width that it does not divide gets the nearest that does.
    """

    layers: int = 2
    ffn_ratio: int = 2
    granularity: int = 2
    active: int = 2
    head_width: int = 16
    vocab: int = 256
    context: int = 128
    shared_experts: int = later(0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "shared_experts" else 1
            if type(value) is not int or value < least:
                raise InputError(
                    f"family: {field.name}: {value!r}: must be a whole number of at least {least}"
                )

    def heads(self, width: int) -> int:
        """The number of heads whose width is even, divides `width`, and is nearest to `head_width`."""
        choices = [n for n in range(1, width + 1) if width % n == 0 and (width // n) % 2 == 0]
        if not choices:
            raise InputError(f"family: width: {width}: must be even")
        return min(choices, key=lambda n: (abs(width // n - self.head_width), n))

    def config(self, width: int, sparsity: float) -> ModelConfig:
        """The member of this width and sparsity; sparsity 0 is the dense model (E = K = G = 1).

        Raises InputError where E = K / (1 - S) is not a whole number.
        """
        common: dict[str, Any] = {
            "width": width, "heads": self.heads(width), "ffn_width": self.ffn_ratio * width,
            "layers": self.layers, "vocab": self.vocab, "context": self.context,
        }
        if sparsity == 0:
            return ModelConfig(**common)
        if not 0 <= sparsity < 1:
            raise InputError(f"family: sparsity: {sparsity}: must lie in [0, 1)")
        experts = round(self.active / (1 - sparsity))
        if abs(experts * (1 - sparsity) - self.active) > 1e-6 * self.active:
            raise InputError(
                f"family: sparsity: {sparsity}: needs {self.active / (1 - sparsity):.3f} experts "
                f"at K = {self.active}; not a whole number"
            )
        return ModelConfig(
            **common, granularity=self.granularity, active=self.active, experts=experts,
            shared_experts=self.shared_experts,
        )  # fmt: skip

    def counts_at(self, width: Any, sparsity: Any) -> Counts:
        """Counts at any real width and sparsity, or arrays of them (broadcast together).

        Between its members the family is continued with E = K / (1 - S) real. S = 0 counts as the dense
        model: G experts of the sparse members' width, all of them active, without router or shared experts.
        """
        routed = (sparsity > 0) * 1
        return count(
            vocab=self.vocab, context=self.context, layers=self.layers, width=width,
            expert_width=self.ffn_ratio * width / self.granularity,
            experts=self._at_zero(self.active / (1 - sparsity), routed),
            active=self._at_zero(self.active, routed), shared=self.shared_experts * routed, routed=routed,
        )

    def _at_zero(self, sparse_count: Any, routed: Any) -> Any:
        """Experts in units of the sparse members' width: a dense model is `granularity` of them."""
        return sparse_count * routed + self.granularity * (1 - routed)
