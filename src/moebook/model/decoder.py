"""The decoder: OLMoE's architecture (Muennighoff et al. 2024) at any size and sparsity.

RMSNorm before attention and before the experts, rotary positions, RMSNorm on all of the queries and
keys (QK-norm), SwiGLU experts chosen by softmax then top-k, no biases, input and output embeddings not tied.
Two options go beyond it: shared experts, and biases that choose experts (balancing without a loss).

Shapes: B sequences, N tokens of one, T = B * N tokens, D width, H heads, W head width, V symbols, L layers,
E experts, K experts of a token.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebook.architecture import ModelConfig, counts
from moebook.model import fused
from moebook.model.experts import Experts
from moebook.model.router import Everywhere, bias_step, route


class Output(NamedTuple):
    """What a forward pass gives. Auxiliary losses are means over layers; 0 in a dense model.

    Attributes:
        logits_BNV: next-symbol logits.
        balance_loss, z_loss: see `moebook.model.router.Routing`.
        load_LE: share of the assignments that each layer's experts got (rows sum to 1).
    """

    logits_BNV: Tensor
    balance_loss: Tensor
    z_loss: Tensor
    load_LE: Tensor


def rotary_tables(context: int, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles, both [N, W] in fp32 (Su et al. 2021, halves layout)."""
    frequency = theta ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle_NW = torch.outer(torch.arange(context, dtype=torch.float64), frequency).repeat(1, 2)
    return angle_NW.cos().float(), angle_NW.sin().float()


def _rotate(x_BHNW: Tensor, cos_NW: Tensor, sin_NW: Tensor) -> Tensor:
    first, second = x_BHNW.chunk(2, -1)
    return x_BHNW * cos_NW + torch.cat((-second, first), -1) * sin_NW


class RMSNorm(nn.RMSNorm):
    """torch's, with its weight in the input's type: under autocast the fused kernel takes no mixture."""

    lent = False  # whether the weight's memory is another's, who frees and fills it at will (FSDP)

    @property
    def scale_D(self) -> Tensor:
        """The weight, for kernels outside of torch: memory that one of them has seen is never freed again."""
        return self.weight.clone() if self.lent else self.weight

    def forward(self, x: Tensor) -> Tensor:
        if fused.takes(x, self.weight):
            return fused.norm(x, self.scale_D, self.eps)
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal self-attention with QK-norm and rotary positions."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_q = RMSNorm(width, eps=config.norm_eps)
        self.norm_k = RMSNorm(width, eps=config.norm_eps)

    def _heads(self, qkv_BNC: Tensor, cos_NW: Tensor, sin_NW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values by head, [B, H, N, W]."""
        if fused.takes(qkv_BNC, self.norm_q.weight, cos_NW):
            scale_q_D, scale_k_D = self.norm_q.scale_D, self.norm_k.scale_D
            return fused.placed_heads(qkv_BNC, scale_q_D, scale_k_D, cos_NW, sin_NW, self.norm_q.eps)
        q, k, v = qkv_BNC.chunk(3, -1)
        parts = (self.norm_q(q), self.norm_k(k), v)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        q, k = (_rotate(part, cos_NW, sin_NW).to(v.dtype) for part in (q, k))
        return q, k, v

    def forward(self, x_BND: Tensor, cos_NW: Tensor, sin_NW: Tensor) -> Tensor:
        q, k, v = self._heads(self.qkv(x_BND), cos_NW, sin_NW)
        y_BHNW = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y_BHNW.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then experts, each on a normalised copy and added to the stream."""

    def __init__(self, config: ModelConfig, biased: bool = False):
        super().__init__()
        self.config = config
        self.norm_attention = RMSNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.norm_experts = RMSNorm(config.width, eps=config.norm_eps)
        self.experts = Experts(config.experts, config.width, config.expert_width)
        self.router_ED = nn.Parameter(torch.empty(config.experts, config.width)) if config.routed else None
        self.shared = Experts(1, config.width, config.shared_width) if config.shared_experts else None
        self.register_buffer("bias_E", torch.zeros(config.experts) if biased and config.routed else None)
        self.everywhere: Everywhere | None = None  # where processes share the model and split the batch

    def forward(self, x_BND: Tensor, cos_NW: Tensor, sin_NW: Tensor):
        x_BND = x_BND + self.attention(self.norm_attention(x_BND), cos_NW, sin_NW)
        y_TD = self.norm_experts(x_BND).flatten(0, 1)
        if self.shared is not None:
            x_BND = x_BND + self.shared.dense(y_TD).view_as(x_BND)
        if self.router_ED is None:
            return x_BND + self.experts.dense(y_TD).view_as(x_BND), None
        logits_TE = (self.router_ED @ y_TD.t()).t()  # tokens side by side, as vector units want them
        config = self.config
        routing = route(logits_TE, config.active, config.renormalise, self.bias_E, self.everywhere)
        y_TD = self.experts(y_TD, routing.expert_TK, routing.weight_TK)
        return x_BND + y_TD.view_as(x_BND), routing


class Decoder(nn.Module):
    """A language model over `config.vocab` symbols.

    Weights are drawn from `seed` on the CPU, so that a seed means the same model on every device:
    embeddings of unit scale, matrices normal with variance 1 / fan-in, those that write into the
    residual stream divided by sqrt(2 * layers), the output projection small.

    Args:
        query_key_scale: factor of the deviation of the query and key projections.
        biased: whether routers have selection biases, which start at zero and which `shift_biases` moves.
            They are buffers, part of the state; a state with them loads into a model made with them alone.
    """

    def __init__(
        self, config: ModelConfig, seed: int = 0, query_key_scale: float = 1.0, biased: bool = False
    ):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config, biased) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, eps=config.norm_eps)
        self.output = nn.Linear(config.width, config.vocab, bias=False)
        cos_NW, sin_NW = rotary_tables(config.context, config.head_width, config.rope_theta)
        self.register_buffer("cos_NW", cos_NW, persistent=False)
        self.register_buffer("sin_NW", sin_NW, persistent=False)
        self._initialise(seed, query_key_scale)
        held = sum(p.numel() for p in self.parameters())
        assert held == counts(config).params, f"holds {held} parameters, not {counts(config).params}"

    @torch.no_grad()
    def _initialise(self, seed: int, query_key_scale: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        width = self.config.width
        into_stream = 1 / math.sqrt(2 * self.config.layers)

        def draw(weight: Tensor, deviation: float) -> None:
            weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)

        draw(self.embedding.weight, 1.0)
        draw(self.output.weight, 1 / width)
        for block in self.blocks:
            draw(block.attention.qkv.weight, width**-0.5)
            block.attention.qkv.weight[: 2 * width] *= query_key_scale
            draw(block.attention.out.weight, width**-0.5 * into_stream)
            draw(block.experts.in_EDF2, width**-0.5)
            draw(block.experts.out_EFD, self.config.expert_width**-0.5 * into_stream)
            if block.router_ED is not None:
                draw(block.router_ED, width**-0.5)
            if block.shared is not None:
                draw(block.shared.in_EDF2, width**-0.5)
                draw(block.shared.out_EFD, self.config.shared_width**-0.5 * into_stream)

    @torch.no_grad()
    def shift_biases(self, load_LE: Tensor, rate: float) -> None:
        """Move the selection biases after a step with this load, [L, E]; nothing in a dense model."""
        for block, load_E in zip(self.blocks, load_LE, strict=True):
            if block.bias_E is not None:
                block.bias_E += bias_step(load_E, rate)

    def stays_on_device(self, dtype: torch.dtype) -> bool:
        """Whether a pass whose products are of this type reads nothing back to the host."""
        return not self.config.routed or all(b.experts.stays_on_device(dtype) for b in self.blocks)

    def forward(self, tokens_BN: Tensor) -> Output:
        """Next-symbol logits for int64 tokens [B, N], N up to `config.context`."""
        length = tokens_BN.shape[1]
        cos_NW, sin_NW = self.cos_NW[:length], self.sin_NW[:length]
        x_BND = self.embedding(tokens_BN)
        routings = []
        for block in self.blocks:
            x_BND, routing = block(x_BND, cos_NW, sin_NW)
            if routing is not None:
                routings.append(routing)
        logits_BNV = self.output(self.norm(x_BND))
        if not routings:
            zero = logits_BNV.new_zeros(())
            return Output(logits_BNV, zero, zero, logits_BNV.new_ones(self.config.layers, 1))
        return Output(
            logits_BNV,
            torch.stack([r.balance_loss for r in routings]).mean(),
            torch.stack([r.z_loss for r in routings]).mean(),
            torch.stack([r.load_E for r in routings]),
        )
