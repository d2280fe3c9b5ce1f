"""The loss on the whole held-out text.

Shapes: B windows, N tokens of a window, L layers, E experts.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from moebook.model import Decoder
from moebook.text import Text, heldout_windows


@dataclass(frozen=True)
class HeldOut:
    """Mean loss of the held-out tokens, and how far it would move with other documents.

    Attributes:
        loss_nats: mean over all held-out tokens, nats per token.
        stderr_nats: its standard error with documents as the sampling unit (a ratio of sums).
        tokens, documents: how many.
        balance_loss: mean of the router's balance loss over batches and layers (1 is even, 0 is dense).
        load_largest, load_smallest: for each layer, share of the assignments of its busiest and of its
            idlest expert, times E: 1 is even, 0 a dead expert.
        load_effective: for each layer, exp(H) / E, H the entropy of the shares: the share of the experts
            that would make the same entropy if load were even on them and nothing on the others.
    """

    loss_nats: float
    stderr_nats: float
    tokens: int
    documents: int
    balance_loss: float
    load_largest: tuple[float, ...]
    load_smallest: tuple[float, ...]
    load_effective: tuple[float, ...]

    @property
    def bits(self) -> float:
        """Bits per token; per byte where tokens are bytes."""
        return self.loss_nats / math.log(2)


def compute_type(device: torch.device, precision: str) -> torch.dtype:
    """The type that products are taken in: "auto" is fp32 on a CPU and bf16 on a CUDA GPU."""
    in_bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if in_bf16 else torch.float32


def autocast(device: torch.device, precision: str):
    """The autocast context of a precision."""
    enabled = compute_type(device, precision) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def uncompiled(device: torch.device):
    """Blocks that were compiled for the batches of training do without: evaluation has other shapes."""
    return torch.compiler.set_stance("force_eager") if device.type == "cuda" else nullcontext()


def ratio_with_stderr(sum_by_document: np.ndarray, count_by_document: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of sum(sums) / sum(counts), documents drawn independently.

    The error is infinite with one document: it says nothing of others.
    """
    total = count_by_document.sum()
    mean = sum_by_document.sum() / total
    documents = len(count_by_document)
    if documents < 2:
        return float(mean), math.inf
    residual = sum_by_document - mean * count_by_document
    return float(mean), float(math.sqrt((residual**2).sum() * documents / (documents - 1)) / total)


@torch.inference_mode()
def held_out_loss(model: Decoder, text: Text, precision: str = "auto", batch: int = 64) -> HeldOut:
    """Loss of every held-out token, each predicted once, in windows of the model's context.

    Args:
        precision: as in `Recipe`.
        batch: windows in one forward pass.
    """
    device = next(model.parameters()).device
    held_out = heldout_windows(text, model.config.context)
    windows_BN, valid_BN, document_B = held_out.windows_WT, held_out.mask_WT, held_out.documents_W
    sums = np.zeros(int(document_B.max()) + 1)
    tokens = np.zeros_like(sums)
    balance, load_LE, windows = 0.0, 0.0, len(windows_BN)
    for start in range(0, len(windows_BN), batch):
        part = slice(start, start + batch)
        window_BN = torch.from_numpy(windows_BN[part].astype(np.int64)).to(device)
        with autocast(device, precision), uncompiled(device):
            out = model(window_BN[:, :-1])
        loss_BN = functional.cross_entropy(
            out.logits_BNV.float().flatten(0, 1), window_BN[:, 1:].flatten(), reduction="none"
        ).view(window_BN.shape[0], -1)
        share = len(window_BN) / windows
        balance += out.balance_loss.item() * share
        load_LE = load_LE + out.load_LE.double().cpu().numpy() * share
        valid = valid_BN[part]
        loss_B = np.where(valid, loss_BN.double().cpu().numpy(), 0.0).sum(1)
        np.add.at(sums, document_B[part], loss_B)
        np.add.at(tokens, document_B[part], valid.sum(1))
    mean, stderr = ratio_with_stderr(sums, tokens)
    return HeldOut(mean, stderr, int(tokens.sum()), len(sums), balance, *load_statistics(load_LE))


def load_statistics(load_LE: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """`load_largest`, `load_smallest` and `load_effective` (see HeldOut) of shares that sum to 1 a layer."""
    experts = load_LE.shape[1]
    logs_LE = np.log(load_LE, out=np.zeros_like(load_LE), where=load_LE > 0)
    effective_L = np.exp(-(load_LE * logs_LE).sum(1)) / experts
    largest_L, smallest_L = load_LE.max(1) * experts, load_LE.min(1) * experts
    return tuple(tuple(found_L.tolist()) for found_L in (largest_L, smallest_L, effective_L))
