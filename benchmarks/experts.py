"""The feed-forward of a mixture, forward and backward, over a dense one of the same active FLOPs.

Shapes: T tokens, D width, F expert width, E experts, K experts of a token.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.timing import Step, compare
from moebook.model.experts import Experts
from moebook.model.router import route

BALANCE_WEIGHT = 0.02


class Row(NamedTuple):
    """One shape, and the ratio over dense to reach: the best that was seen with other libraries."""

    tokens: int
    width: int
    expert_width: int
    experts: int
    active: int
    bar: float


ROWS = (
    Row(4096, 128, 256, 8, 1, 1.16),
    Row(4096, 128, 128, 32, 2, 1.33),
    Row(4096, 512, 512, 8, 2, 1.08),
    Row(16384, 256, 256, 64, 2, 1.45),
    Row(4096, 256, 512, 64, 1, 1.30),
    Row(2048, 128, 128, 64, 1, 2.10),
)
GOAL = 1.05


def flops(row: Row) -> float:
    """FLOPs of the experts, forward and backward; the router's are not among them."""
    return 18.0 * row.tokens * row.width * row.expert_width * row.active


def _leaf(*shape: int, deviation: float = 1.0) -> Tensor:
    return (torch.randn(*shape) * deviation).requires_grad_()


def _clear(*leaves: Tensor) -> None:
    for leaf in leaves:
        leaf.grad = None


def dense(row: Row) -> Step:
    """A dense SwiGLU of width K F in plain torch."""
    width, inner = row.width, row.expert_width * row.active
    x_TD, gradient_TD = _leaf(row.tokens, width), torch.randn(row.tokens, width)
    in_DF2 = _leaf(width, 2 * inner, deviation=width**-0.5)
    out_FD = _leaf(inner, width, deviation=inner**-0.5)

    def step() -> None:
        _clear(x_TD, in_DF2, out_FD)
        gate_TF, up_TF = (x_TD @ in_DF2).chunk(2, -1)
        ((functional.silu(gate_TF) * up_TF) @ out_FD).backward(gradient_TD)

    return step


def our_dense(row: Row) -> Step:
    """The same in this library."""
    experts = _ours(1, row.width, row.expert_width * row.active)
    x_TD, gradient_TD = _leaf(row.tokens, row.width), torch.randn(row.tokens, row.width)

    def step() -> None:
        _clear(x_TD, *experts.parameters())
        experts.dense(x_TD).backward(gradient_TD)

    return step


def _ours(count: int, width: int, expert_width: int) -> Experts:
    experts = Experts(count, width, expert_width)
    torch.nn.init.normal_(experts.in_EDF2, std=width**-0.5)
    torch.nn.init.normal_(experts.out_EFD, std=expert_width**-0.5)
    return experts


def ours(row: Row) -> Step:
    """Router (with the gradient of its balance loss) and experts of this library."""
    experts = _ours(row.experts, row.width, row.expert_width)
    router_ED = _leaf(row.experts, row.width, deviation=row.width**-0.5)
    x_TD, gradient_TD = _leaf(row.tokens, row.width), torch.randn(row.tokens, row.width)
    weight = torch.tensor(BALANCE_WEIGHT)

    def step() -> None:
        _clear(x_TD, router_ED, *experts.parameters())
        routing = route((router_ED @ x_TD.t()).t(), row.active, True)
        y_TD = experts(x_TD, routing.expert_TK, routing.weight_TK)
        torch.autograd.backward([y_TD, routing.balance_loss], [gradient_TD, weight])

    return step


def transformers(row: Row, implementation: str) -> Step:
    """Router and experts of transformers' OLMoE, without a balance loss (which would add to its time)."""
    from transformers import OlmoeConfig
    from transformers.models.olmoe.modeling_olmoe import OlmoeSparseMoeBlock

    config = OlmoeConfig(
        hidden_size=row.width, intermediate_size=row.expert_width, num_experts=row.experts,
        num_experts_per_tok=row.active, norm_topk_prob=row.active > 1, num_attention_heads=1,
    )  # fmt: skip
    config._experts_implementation = implementation
    block = OlmoeSparseMoeBlock(config)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    x_TD, gradient_TD = _leaf(row.tokens, row.width), torch.randn(row.tokens, row.width)

    def step() -> None:
        _clear(x_TD, *block.parameters())
        block(x_TD[None]).backward(gradient_TD[None])

    return step


def products(row: Row, experts: int) -> Step:
    """The six products of a feed-forward alone, for `experts` of equal load: what routing cannot go below."""
    inner = row.expert_width * row.active // (row.active if experts > 1 else 1)
    rows = row.tokens * (row.active if experts > 1 else 1) // experts
    sizes = (experts, rows)
    x_ERD, h_ERF2 = torch.randn(*sizes, row.width), torch.randn(*sizes, 2 * inner)
    a_ERF, y_ERD = torch.randn(*sizes, inner), torch.randn(*sizes, row.width)
    in_EDF2, out_EFD = torch.randn(experts, row.width, 2 * inner), torch.randn(experts, inner, row.width)
    din_EDF2, dout_EFD = torch.empty_like(in_EDF2), torch.empty_like(out_EFD)
    into = tuple(torch.empty_like(rows) for rows in (x_ERD, h_ERF2, a_ERF, y_ERD))

    def step() -> None:
        for e in range(experts):
            torch.mm(x_ERD[e], in_EDF2[e], out=into[1][e])
            torch.mm(a_ERF[e], out_EFD[e], out=into[3][e])
        for e in range(experts):
            torch.mm(y_ERD[e], out_EFD[e].t(), out=into[2][e])
            torch.mm(a_ERF[e].t(), y_ERD[e], out=dout_EFD[e])
            torch.mm(x_ERD[e].t(), h_ERF2[e], out=din_EDF2[e])
            torch.mm(h_ERF2[e], in_EDF2[e].t(), out=into[0][e])

    return step


def measure(rows: tuple[Row, ...] = ROWS, rounds: int = 15) -> list[dict[str, Any]]:
    """One entry a row: seconds of every variant, ratios over plain dense, and whether the bars are met."""
    found = []
    for row in rows:
        steps = {
            "dense": dense(row), "our dense": our_dense(row), "ours": ours(row),
            "transformers": transformers(row, "grouped_mm"), "dense products": products(row, 1),
            "products": products(row, row.experts),
        }  # fmt: skip
        seconds = compare(steps, rounds)
        # a loop over experts: tens of times slower where there are many, so it gets few turns
        seconds |= compare({"transformers eager": transformers(row, "eager")}, rounds=3, warm_up=1)
        ratio = seconds["ours"] / seconds["dense"]
        found.append({
            "shape": row._asdict(), "cpu_seconds": seconds,
            "dense_gflops": flops(row) / seconds["dense"] / 1e9,
            "ratio": {name: value / seconds["dense"] for name, value in seconds.items()},
            "over_transformers": seconds["ours"] / seconds["transformers"],
            "bar": row.bar, "goal": GOAL,
            # Ours if gathering, weighting and adding up were free: dense, with its products done by expert.
            "floor": 1 + (seconds["products"] - seconds["dense products"]) / seconds["dense"],
            "met": bool(ratio <= row.bar),
            "met_transformers": bool(seconds["ours"] <= seconds["transformers"]),
        })  # fmt: skip
    return found
