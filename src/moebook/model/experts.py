"""The experts: each token through K of E SwiGLU networks, without padding and without dropping.

Shapes: T tokens, P = T * K token-expert pairs (sorted by expert), D width, F expert width, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebook.model import fused


def experts_by_loop(
    x_TD: Tensor, expert_TK: Tensor, weight_TK: Tensor, in_EDF2: Tensor, out_EFD: Tensor
) -> Tensor:
    """The definition, one expert after the other; any dtype, any shape. Slow; the reference of the tests."""
    y_TD = torch.zeros_like(x_TD)
    for e, (in_DF2, out_FD) in enumerate(zip(in_EDF2.unbind(), out_EFD.unbind(), strict=True)):
        token, slot = torch.where(expert_TK == e)
        gate, up = (x_TD[token] @ in_DF2).chunk(2, -1)
        y = (functional.silu(gate) * up) @ out_FD
        y_TD = y_TD.index_add(0, token, y * weight_TK[token, slot, None].to(y.dtype))
    return y_TD


class _ToPairs(torch.autograd.Function):
    """Copy each token to its pairs, sorted by expert; backward gathers too (a scatter-add would be slow)."""

    @staticmethod
    def forward(context, x_TD: Tensor, order_P: Tensor, place_P: Tensor, active: int) -> Tensor:
        context.save_for_backward(place_P)
        context.active = active
        return x_TD.index_select(0, order_P if active == 1 else order_P // active)

    @staticmethod
    def backward(context, grad_PD: Tensor):
        (place_P,) = context.saved_tensors
        grad_TD = grad_PD.index_select(0, place_P)
        if context.active > 1:
            grad_TD = grad_TD.view(-1, context.active, grad_PD.shape[-1]).sum(1)
        return grad_TD, None, None, None


class _FromPairs(torch.autograd.Function):
    """Undo the sorting: row i of the result is pair i of the tokens' order."""

    @staticmethod
    def forward(context, y_PD: Tensor, order_P: Tensor, place_P: Tensor) -> Tensor:
        context.save_for_backward(order_P)
        return y_PD.index_select(0, place_P)

    @staticmethod
    def backward(context, grad_PD: Tensor):
        (order_P,) = context.saved_tensors
        return grad_PD.index_select(0, order_P), None, None


def _grouped_takes(dtype: torch.dtype, weight: Tensor) -> bool:
    """Whether grouped_mm takes these without asking the host how many rows each expert has.

    Its rows must be multiples of 16 bytes, and float64 it has not. On a CUDA GPU its kernel is for bf16 on
    Hopper and on the Blackwell of data centres; elsewhere torch reads the counts back.
    """
    if dtype == torch.float64 or not hasattr(functional, "grouped_mm"):
        return False
    if weight.device.type == "cuda" and not (
        dtype == torch.bfloat16 and torch.cuda.get_device_properties(weight.device).major in (9, 10)
    ):
        return False
    return all(size * dtype.itemsize % 16 == 0 for size in weight.shape[1:])


def _grouped(x_PD: Tensor, weight_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """Rows of x_PD times their expert's matrix; expert e has the rows up to ends_E[e]."""
    if _grouped_takes(x_PD.dtype, weight_EDF):
        return functional.grouped_mm(x_PD, weight_EDF, offs=ends_E)
    rows = ends_E.diff(prepend=ends_E.new_zeros(1)).tolist()
    return torch.cat([x @ w for x, w in zip(x_PD.split(rows), weight_EDF.unbind(), strict=True)])


def experts_by_group(
    x_TD: Tensor, expert_TK: Tensor, weight_TK: Tensor, in_EDF2: Tensor, out_EFD: Tensor
) -> Tensor:
    """`experts_by_loop`, pairs sorted by expert, one grouped product a projection; no wait for a GPU."""
    tokens, active = expert_TK.shape
    flat_P = expert_TK.reshape(-1)
    order_P = flat_P.argsort(stable=True)
    place_P = torch.empty_like(order_P)
    place_P[order_P] = torch.arange(tokens * active, device=order_P.device)
    counts_E = torch.zeros(in_EDF2.shape[0], dtype=torch.int32, device=order_P.device)
    counts_E.scatter_add_(0, flat_P, torch.ones_like(flat_P, dtype=torch.int32))
    ends_E = counts_E.cumsum(0, dtype=torch.int32)

    x_PD = _ToPairs.apply(x_TD, order_P, place_P, active)
    gate_PF, up_PF = _grouped(x_PD, in_EDF2, ends_E).chunk(2, -1)
    y_PD = _grouped(functional.silu(gate_PF) * up_PF, out_EFD, ends_E)
    y_TKD = _FromPairs.apply(y_PD, order_P, place_P).view(tokens, active, -1)
    weight_TK = weight_TK.to(y_TKD.dtype)
    if active == 1:
        return y_TKD[:, 0] * weight_TK
    return torch.bmm(weight_TK[:, None], y_TKD)[:, 0]


class Experts(nn.Module):
    """E SwiGLU experts with stacked weights; `in_EDF2` holds gate and up side by side."""

    def __init__(self, experts: int, width: int, expert_width: int):
        super().__init__()
        self.in_EDF2 = nn.Parameter(torch.empty(experts, width, 2 * expert_width))
        self.out_EFD = nn.Parameter(torch.empty(experts, expert_width, width))

    def dense(self, x_TD: Tensor) -> Tensor:
        """The one expert of a dense model, without routing."""
        if fused.takes(x_TD, self.in_EDF2) and not torch.is_autocast_enabled("cpu"):
            return fused.swiglu(x_TD, self.in_EDF2, self.out_EFD)
        gate_TF, up_TF = (x_TD @ self.in_EDF2[0]).chunk(2, -1)
        return (functional.silu(gate_TF) * up_TF) @ self.out_EFD[0]

    def stays_on_device(self, dtype: torch.dtype) -> bool:
        """Whether products of this type leave the sizes of the groups on the device."""
        return all(_grouped_takes(dtype, weight) for weight in self.parameters())

    def forward(self, x_TD: Tensor, expert_TK: Tensor, weight_TK: Tensor) -> Tensor:
        in_EDF2, out_EFD = self.in_EDF2, self.out_EFD
        if torch.is_autocast_enabled(x_TD.device.type):  # grouped_mm is not on autocast's list
            dtype = torch.get_autocast_dtype(x_TD.device.type)
            x_TD, in_EDF2, out_EFD = x_TD.to(dtype), in_EDF2.to(dtype), out_EFD.to(dtype)
        by = fused.experts if fused.takes(x_TD, weight_TK, in_EDF2) else experts_by_group
        return by(x_TD, expert_TK, weight_TK, in_EDF2, out_EFD)
