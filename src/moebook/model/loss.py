"""The loss of a language model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from moebook.model import fused


def next_token_loss(logits_BNV: Tensor, target_BN: Tensor) -> Tensor:
    """Mean cross-entropy in nats per token, in fp32 or finer: logits [B, N, V], int64 targets [B, N]."""
    logits_TV, target_T = logits_BNV.flatten(0, 1), target_BN.reshape(-1)
    if fused.takes(logits_TV):
        return fused.loss(logits_TV, target_T)
    logits_TV = logits_TV if logits_TV.dtype == torch.float64 else logits_TV.float()
    return functional.cross_entropy(logits_TV, target_T)
