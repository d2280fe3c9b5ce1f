"""Norms, queries and keys, and the loss, each with its gradient in one pass.

Shapes: B sequences of N tokens, T = B * N, D width, H heads of width W, V symbols.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moebook.model.fused import layer_kernels as kernels
from moebook.model.fused.common import array


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(context, x_TD: Tensor, scale_D: Tensor, epsilon: float):
        y_TD, inverse_T = torch.empty_like(x_TD), x_TD.new_empty(len(x_TD))
        kernels.norm_forward(array(x_TD), array(scale_D), epsilon, y_TD.numpy(), inverse_T.numpy())
        context.save_for_backward(x_TD, scale_D, inverse_T)
        return y_TD

    @staticmethod
    @once_differentiable
    def backward(context, dy_TD: Tensor):
        x_TD, scale_D, inverse_T = context.saved_tensors
        dx_TD, dscale_D = torch.empty_like(x_TD), torch.zeros_like(scale_D)
        kernels.norm_backward(
            array(dy_TD), x_TD.numpy(), array(scale_D), inverse_T.numpy(), dx_TD.numpy(), dscale_D.numpy()
        )
        return dx_TD, dscale_D, None


def norm(x: Tensor, scale_D: Tensor, epsilon: float) -> Tensor:
    """`torch.nn.functional.rms_norm` over the last dimension."""
    return _Norm.apply(x.reshape(-1, x.shape[-1]).contiguous(), scale_D, epsilon).view_as(x)


class _PlacedHeads(torch.autograd.Function):
    """Of x [T, P, J]: the projections' columns as half heads, queries' first, then keys', then values'."""

    @staticmethod
    def forward(context, x_TPJ: Tensor, scale_q_D: Tensor, scale_k_D: Tensor, cos_NJ, sin_NJ, epsilon):
        tokens, halves, size = x_TPJ.shape
        halves //= 3
        out_3TQJ, inverse_2T = x_TPJ.new_empty(3, tokens, halves, size), x_TPJ.new_empty(2, tokens)
        for part, scale_D in enumerate((scale_q_D, scale_k_D)):
            kernels.place_forward(
                array(x_TPJ), part * halves, array(scale_D).reshape(halves, size), epsilon, cos_NJ.numpy(),
                sin_NJ.numpy(), out_3TQJ[part].numpy(), inverse_2T[part].numpy(),
            )  # fmt: skip
        out_3TQJ[2] = x_TPJ[:, 2 * halves:]
        context.save_for_backward(x_TPJ, scale_q_D, scale_k_D, cos_NJ, sin_NJ, inverse_2T)
        return out_3TQJ.unbind()

    @staticmethod
    @once_differentiable
    def backward(context, *gradients: Tensor):
        x_TPJ, scale_q_D, scale_k_D, cos_NJ, sin_NJ, inverse_2T = context.saved_tensors
        halves, size = x_TPJ.shape[1] // 3, x_TPJ.shape[2]
        dx_TPJ = torch.empty_like(x_TPJ)
        dscales = torch.zeros_like(scale_q_D), torch.zeros_like(scale_k_D)
        for part, scale_D in enumerate((scale_q_D, scale_k_D)):
            kernels.place_backward(
                array(gradients[part]), array(x_TPJ), part * halves, array(scale_D).reshape(halves, size),
                inverse_2T[part].numpy(), cos_NJ.numpy(), sin_NJ.numpy(), dx_TPJ.numpy(),
                dscales[part].numpy().reshape(halves, size),
            )  # fmt: skip
        dx_TPJ[:, 2 * halves:] = gradients[2]
        return dx_TPJ, *dscales, None, None, None


def placed_heads(
    qkv_BNC: Tensor, scale_q_D: Tensor, scale_k_D: Tensor, cos_NW: Tensor, sin_NW: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, H, N, W] of [B, N, 3 D]; queries and keys normalised, then rotated."""
    batch, length, _ = qkv_BNC.shape
    half = cos_NW.shape[1] // 2
    parts = _PlacedHeads.apply(
        qkv_BNC.reshape(batch * length, -1, half).contiguous(), scale_q_D, scale_k_D,
        cos_NW[:, :half].contiguous(), sin_NW[:, :half].contiguous(), epsilon,
    )  # fmt: skip
    q, k, v = (part.view(batch, length, -1, 2 * half).transpose(1, 2) for part in parts)
    return q, k, v


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(context, logits_TV: Tensor, target_T: Tensor):
        p_TV = torch.empty_like(logits_TV)
        loss = kernels.loss_forward(logits_TV.numpy(), target_T.numpy(), p_TV.numpy())
        context.save_for_backward(p_TV, target_T)
        return logits_TV.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(context, dloss: Tensor):
        p_TV, target_T = context.saved_tensors
        dlogits_TV = torch.empty_like(p_TV)
        scale = (dloss / len(target_T)).numpy()[()]
        kernels.loss_backward(p_TV.numpy(), target_T.numpy(), scale, dlogits_TV.numpy())
        return dlogits_TV, None


def loss(logits_TV: Tensor, target_T: Tensor) -> Tensor:
    """`torch.nn.functional.cross_entropy`, the mean over tokens.

    Raises IndexError where a target is no symbol; -100, which torch skips, is none either.
    """
    return _Loss.apply(logits_TV.contiguous(), target_T.contiguous())
