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
    @staticmethod
    def forward(context, qkv_TC: Tensor, scale_q_D: Tensor, scale_k_D: Tensor, cos_NW, sin_NW, epsilon):
        tokens, width = len(qkv_TC), len(scale_q_D)
        out_3TD, inverse_2T = qkv_TC.new_empty(3, tokens, width), qkv_TC.new_empty(2, tokens)
        for part, scale_D in enumerate((scale_q_D, scale_k_D)):
            kernels.place_forward(
                qkv_TC.numpy(), part * width, array(scale_D), epsilon, array(cos_NW), array(sin_NW),
                out_3TD[part].numpy(), inverse_2T[part].numpy(),
            )  # fmt: skip
        out_3TD[2] = qkv_TC[:, 2 * width:]
        context.save_for_backward(qkv_TC, scale_q_D, scale_k_D, cos_NW, sin_NW, inverse_2T)
        return out_3TD.unbind()

    @staticmethod
    @once_differentiable
    def backward(context, *gradients: Tensor):
        qkv_TC, scale_q_D, scale_k_D, cos_NW, sin_NW, inverse_2T = context.saved_tensors
        width, dqkv_TC = len(scale_q_D), torch.empty_like(qkv_TC)
        dscales = torch.zeros_like(scale_q_D), torch.zeros_like(scale_k_D)
        for part, scale_D in enumerate((scale_q_D, scale_k_D)):
            kernels.place_backward(
                array(gradients[part]), qkv_TC.numpy(), part * width, array(scale_D),
                inverse_2T[part].numpy(), array(cos_NW), array(sin_NW), dqkv_TC.numpy(),
                dscales[part].numpy(),
            )  # fmt: skip
        dqkv_TC[:, 2 * width:] = gradients[2]
        return dqkv_TC, *dscales, None, None, None


def placed_heads(
    qkv_BNC: Tensor, scale_q_D: Tensor, scale_k_D: Tensor, cos_NW: Tensor, sin_NW: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, H, N, W] of [B, N, 3 D]; queries and keys normalised, then rotated."""
    batch, length, _ = qkv_BNC.shape
    parts = _PlacedHeads.apply(
        qkv_BNC.reshape(batch * length, -1).contiguous(), scale_q_D, scale_k_D, cos_NW, sin_NW, epsilon
    )
    q, k, v = (part.view(batch, length, -1, cos_NW.shape[1]).transpose(1, 2) for part in parts)
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
    """`torch.nn.functional.cross_entropy`, the mean over tokens."""
    return _Loss.apply(logits_TV.contiguous(), target_T.contiguous())
