"""Which experts a token goes to, and what that costs in auxiliary loss.

Shapes: T tokens, E experts, K experts of a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from moebook.model import fused
from moebook.model.loss import fp32_or_finer

#: Makes of this process's load the mean over all processes that share a batch
Everywhere = Callable[[Tensor], Tensor]


class Routing(NamedTuple):
    """Where tokens go.

    Attributes:
        expert_TK: chosen experts, best first; int64.
        weight_TK: their weights, of the logits' type.
        balance_loss: scalar, 1 where load is even (Fedus et al. 2021, Eq. 4).
        z_loss: scalar, mean squared log-partition (Zoph et al. 2022, Eq. 5).
        load_E: share of the T * K assignments that each expert got; sums to 1; no gradient.
    """

    expert_TK: Tensor
    weight_TK: Tensor
    balance_loss: Tensor
    z_loss: Tensor
    load_E: Tensor


def route(
    logits_TE: Tensor,
    active: int,
    renormalise: bool,
    bias_E: Tensor | None = None,
    everywhere: Everywhere | None = None,
) -> Routing:
    """`route_by_definition`, fast where it can be; logits are best given as the transpose of [E, T]."""
    logits_TE = fp32_or_finer(logits_TE)
    if everywhere is not None or not fused.takes(logits_TE):
        return route_by_definition(logits_TE, active, renormalise, bias_E, everywhere)
    expert_KT, weight_KT, *rest = fused.route(logits_TE.t(), active, renormalise, bias_E)
    return Routing(expert_KT.t(), weight_KT.t(), *rest)


def route_by_definition(
    logits_TE: Tensor,
    active: int,
    renormalise: bool,
    bias_E: Tensor | None = None,
    everywhere: Everywhere | None = None,
) -> Routing:
    """Softmax over all experts, then the top K, as OLMoE does (Muennighoff et al. 2024, section 2).

    Ties go to any of the equal ones; `route` takes the first on a CPU.

    Args:
        logits_TE: router logits; taken to fp32 (left as they are in float64).
        active: K.
        renormalise: rescale the K weights so that they sum to one. With K = 1 that would cut the
            router's gradient, so a single weight is kept as it is.
        bias_E: added to the probabilities to choose the experts, and for nothing else: weights and losses
            are those of the probabilities themselves (Wang et al. 2024, Eq. 3, and DeepSeek-V3 add it to
            sigmoid scores; ours are the softmax's). See `bias_step`.
        everywhere: where several processes share a batch. The load is then that of all of it, and the balance
            loss one whose mean over processes, gradient included, is that of all of it.
    """
    experts = logits_TE.shape[-1]
    logits_TE = fp32_or_finer(logits_TE)
    probability_TE = logits_TE.softmax(-1)
    score_TE = probability_TE if bias_E is None else probability_TE.detach() + bias_E
    if active == 1:  # max is several times faster than topk
        weight_TK, expert_TK = score_TE.max(-1, keepdim=True)
    else:
        weight_TK, expert_TK = score_TE.topk(active, -1)
    if bias_E is not None:
        weight_TK = probability_TE.gather(-1, expert_TK)
    if active > 1 and renormalise:
        weight_TK = weight_TK / weight_TK.sum(-1, keepdim=True)
    with torch.no_grad():
        counts_E = torch.zeros(experts, dtype=torch.int64, device=logits_TE.device)
        flat = expert_TK.reshape(-1)
        counts_E.scatter_add_(0, flat, torch.ones_like(flat))
        load_E = counts_E.to(probability_TE.dtype) / flat.numel()
        if everywhere is not None:
            load_E = everywhere(load_E)
    balance_loss = experts * (load_E * probability_TE.mean(0)).sum()
    z_loss = logits_TE.logsumexp(-1).square().mean()
    return Routing(expert_TK, weight_TK, balance_loss, z_loss, load_E)


def bias_step(load_E: Tensor, rate: float) -> Tensor:
    """What to add to `bias_E` after a step with this load: `rate` up below the mean load, down above it.

    Balancing without an auxiliary loss (Wang et al. 2024, Algorithm 1). Stays on the load's device. A rate
    above the differences between tokens' probabilities lets whole groups of tokens jump back and forth.
    """
    return rate * (1 / load_E.shape[-1] - load_E).sign()
