"""The router with its gradient: `router.route_by_definition` in two passes.

Shapes: T tokens, E experts, K experts of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moebook.model.fused import expert_kernels as kernels
from moebook.model.fused.common import array


class _Route(torch.autograd.Function):
    @staticmethod
    def forward(context, logits_ET: Tensor, active: int, renormalise: bool, bias_E: Tensor | None):
        experts, tokens = logits_ET.shape
        p_ET = torch.empty_like(logits_ET, memory_format=torch.contiguous_format)
        expert_KT = torch.empty(active, tokens, dtype=torch.int64)
        weight_KT, z_T = logits_ET.new_empty(active, tokens), logits_ET.new_empty(tokens)
        count_E, mean_E = torch.empty(experts, dtype=torch.int64), logits_ET.new_empty(experts)
        bias_E = logits_ET.new_zeros(experts) if bias_E is None else bias_E.to(logits_ET.dtype)
        kernels.route_forward(
            array(logits_ET), array(bias_E), renormalise, p_ET.numpy(), expert_KT.numpy(),
            weight_KT.numpy(), z_T.numpy(), count_E.numpy(), mean_E.numpy(),
        )  # fmt: skip
        load_E = count_E.to(logits_ET.dtype).div_(active * tokens)
        context.save_for_backward(p_ET, expert_KT, weight_KT, z_T, load_E)
        context.renormalise = renormalise
        context.mark_non_differentiable(expert_KT, load_E)
        context.set_materialize_grads(False)
        balance_loss = torch.dot(load_E, mean_E).mul_(experts)
        return expert_KT, weight_KT, balance_loss, torch.dot(z_T, z_T).div_(tokens), load_E

    @staticmethod
    @once_differentiable
    def backward(context, _, dweight_KT, dbalance, dz, __):
        p_ET, expert_KT, weight_KT, z_T, load_E = context.saved_tensors
        experts, tokens = p_ET.shape
        dweight_KT = torch.zeros_like(weight_KT) if dweight_KT is None else dweight_KT
        dmean_E = torch.zeros_like(load_E) if dbalance is None else load_E * (dbalance * (experts / tokens))
        dz_T = torch.zeros_like(z_T) if dz is None else z_T * (dz * (2 / tokens))
        dlogits_ET = torch.empty_like(p_ET)
        kernels.route_backward(
            p_ET.numpy(), expert_KT.numpy(), weight_KT.numpy(), context.renormalise, array(dweight_KT),
            dmean_E.numpy(), dz_T.numpy(), dlogits_ET.numpy(),
        )  # fmt: skip
        return dlogits_ET, None, None, None


def route(logits_ET: Tensor, active: int, renormalise: bool, bias_E: Tensor | None = None):
    """(expert_KT, weight_KT, balance_loss, z_loss, load_E) as `router.route_by_definition` has them."""
    return _Route.apply(logits_ET, active, renormalise and active > 1, bias_E)
