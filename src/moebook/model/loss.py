"""The loss of a language model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from moebook.model import fused


def fp32_or_finer(x: Tensor) -> Tensor:
    """What softmax and its logarithm are taken of: float64 as it is, all else in fp32."""
    return x if x.dtype == torch.float64 else x.float()


def next_token_loss(logits_BNV: Tensor, target_BN: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token, in fp32 or finer: logits [B, N, V], int64 targets [B, N]."""
    logits_TV, target_T = logits_BNV.flatten(0, 1), target_BN.reshape(-1)
    if fused.takes(logits_TV):
        return fused.loss(logits_TV, target_T)
    return functional.cross_entropy(fp32_or_finer(logits_TV), target_T)
