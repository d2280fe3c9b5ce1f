"""Whole training steps: useful FLOPs over what a core can do, and tokens per second over a peer's."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.timing import SIDE, Step, compare, square_product
from moebook.architecture import ModelConfig, counts
from moebook.model import Decoder, next_token_loss

SEQUENCES = 32
BARS = {64: 0.30, 128: 0.50, 256: 0.65}  # by width: useful over possible FLOPs
PEER_BAR = 1.3  # tokens per second over transformers'
EXPERTS = (1, 8, 32, 64)  # half as wide as the dense feed-forward, two a token; 1 is the dense twin
BALANCE_WEIGHT, CLIP, RATE = 0.02, 1.0, 1e-3


def model_of(width: int, experts: int) -> ModelConfig:
    """Two layers of head width 64; every model has the active feed-forward of its dense twin."""
    routed = {"experts": experts, "active": 2, "granularity": 2} if experts > 1 else {}
    return ModelConfig(width=width, ffn_width=2 * width, heads=max(1, width // 64), **routed)


def _symbols(config: ModelConfig) -> torch.Tensor:
    return torch.randint(config.vocab, (SEQUENCES, config.context + 1))


def _update(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def ours(config: ModelConfig) -> Step:
    """Forward, backward, clipping and update of this library's model."""
    model, symbols = Decoder(config), _symbols(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def step() -> None:
        out = model(symbols[:, :-1])
        loss = next_token_loss(out.logits_BNV, symbols[:, 1:])
        (loss + BALANCE_WEIGHT * out.balance_loss).backward()
        _update(model, optimizer)

    return step


def transformers(config: ModelConfig) -> Step:
    """The same of `OlmoeForCausalLM`, with its grouped products and its balance loss."""
    from transformers import OlmoeConfig, OlmoeForCausalLM

    theirs = OlmoeConfig(
        vocab_size=config.vocab, hidden_size=config.width, intermediate_size=config.expert_width,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, num_experts=config.experts,
        num_experts_per_tok=config.active, norm_topk_prob=config.active > 1,
        output_router_logits=config.routed, router_aux_loss_coef=BALANCE_WEIGHT / config.active,
        max_position_embeddings=config.context, use_cache=False,
    )  # fmt: skip
    theirs._experts_implementation = "grouped_mm"
    model, symbols = OlmoeForCausalLM(theirs).train(), _symbols(config)[:, :-1].contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def step() -> None:
        model(input_ids=symbols, labels=symbols).loss.backward()
        _update(model, optimizer)

    return step


def measure(
    widths: tuple[int, ...] = tuple(BARS), experts: tuple[int, ...] = EXPERTS, rounds: int = 7
) -> list[dict[str, Any]]:
    """One entry a model: seconds a step, FLOPs, shares and ratios, and whether the bars are met.

    All models of a width run in turn, for the dense one is what the others are compared with.
    """
    found = []
    for width in widths:
        models = {count: model_of(width, count) for count in experts}
        steps = {"product": square_product()}
        for count, config in models.items():
            steps |= {f"ours {count}": ours(config), f"transformers {count}": transformers(config)}
        seconds = compare(steps, rounds)
        for count, config in models.items():
            taken = {name: seconds[f"{name} {count}"] for name in ("ours", "transformers")}
            found.append(_row(config, {"product": seconds["product"], **taken}))
    return found


def _row(config: ModelConfig, seconds: dict[str, float]) -> dict[str, Any]:
    paper, tokens, bar = counts(config), SEQUENCES * config.context, BARS.get(config.width)
    possible = 2 * SIDE**3 / seconds["product"]
    useful = paper.flops_per_token * tokens / seconds["ours"]
    faster = seconds["transformers"] / seconds["ours"]
    return {
        "width": config.width, "experts": config.experts, "active": config.active,
        "sparsity": config.sparsity, "tokens": tokens, "flops_per_token": paper.flops_per_token,
        "params": paper.params,
        "cpu_seconds": seconds, "product_gflops": possible / 1e9, "useful_gflops": useful / 1e9,
        "share": useful / possible, "bar": bar, "faster": faster, "peer_bar": PEER_BAR,
        "met": bool(useful / possible >= (bar or 0)), "met_peer": bool(faster >= PEER_BAR),
    }  # fmt: skip
