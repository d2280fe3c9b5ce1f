"""The configuration of one model."""

from __future__ import annotations

from dataclasses import dataclass, fields

from moebook.architecture.accounting import Counts, count
from moebook.errors import InputError
from moebook.files import later


@dataclass(frozen=True)
class ModelConfig:
    """One decoder: OLMoE's architecture (Muennighoff et al. 2024) at any size and sparsity.

    Attributes:
        width, layers, heads: residual width d, depth, attention heads (head width = width / heads).
        ffn_width: hidden width of the whole feed-forward, d_ffn; an expert has d_ffn / granularity of it.
        granularity: G.
        experts, active: E routed experts in a layer, K of them used per token. E = K = 1 is the dense model.
        shared_experts: experts beside the routed ones that every token passes, with weight one and without
            router (DeepSeekMoE, Dai et al. 2024, section 3.2); held as one network of their joint width.
        vocab, context: symbols; tokens of a training sequence.
        renormalise: whether the K chosen router weights are rescaled to sum to one.

    Raises InputError naming the field where a value makes no model.
    """

    width: int
    ffn_width: int
    heads: int
    layers: int = 2
    granularity: int = 1
    experts: int = 1
    active: int = 1
    vocab: int = 256
    context: int = 128
    renormalise: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    shared_experts: int = later(0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "shared_experts" else 1
            if field.type == "int" and (type(value) is not int or value < least):
                raise InputError(
                    f"model: {field.name}: {value!r}: must be a whole number of at least {least}"
                )
            if field.type == "float" and not (isinstance(value, (int, float)) and value > 0):
                raise InputError(f"model: {field.name}: {value!r}: must be a positive number")
            if field.type == "bool" and not isinstance(value, bool):
                raise InputError(f"model: {field.name}: {value!r}: must be true or false")
        if self.experts < self.active:
            raise InputError(
                f"model: experts: {self.experts}: fewer than the {self.active} active per token (E < K)"
            )
        if self.width % self.heads or self.head_width % 2:
            raise InputError(
                f"model: heads: {self.heads}: must divide width {self.width} into heads of even width"
            )
        if self.ffn_width % self.granularity:
            raise InputError(
                f"model: granularity: {self.granularity}: must divide ffn_width {self.ffn_width}"
            )

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def expert_width(self) -> int:
        """Hidden width of one expert, d_ffn / G."""
        return self.ffn_width // self.granularity

    @property
    def shared_width(self) -> int:
        """Hidden width of the shared experts together; 0 where there are none."""
        return self.shared_experts * self.expert_width

    @property
    def sparsity(self) -> float:
        """S = (E - K) / E (Abnar et al. 2025, section 2): of the routed experts; parameters and shared
        experts do not enter."""
        return (self.experts - self.active) / self.experts

    @property
    def routed(self) -> bool:
        """Whether there is a router: any model but the one with a single expert."""
        return self.experts > 1


def counts(config: ModelConfig) -> Counts:
    """Parameters, FLOPs per token and bytes of a model (conventions: `moebook.architecture.accounting`)."""
    return count(
        vocab=config.vocab, context=config.context, layers=config.layers, width=config.width,
        expert_width=config.expert_width, experts=config.experts, active=config.active,
        shared=config.shared_experts, routed=int(config.routed),
    )
