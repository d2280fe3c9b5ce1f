"""Log-probabilities of bytes under a model: batched, by the model's own forward pass, in fp32.

The first byte of a sequence is context and is not predicted: byte 0, the separator, before a text that
begins, as before a document in training. Shapes: B sequences, N bytes of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moebook.model import Decoder
from moebook.train.evaluate import uncompiled

START = b"\0"
#: Bytes of one forward pass; a GPU is idle with few.
BATCH_BYTES = {"cpu": 8192, "cuda": 131_072}


def nats(model: Decoder, sequences: Sequence[bytes], first: Sequence[int] | None = None) -> np.ndarray:
    """-log p of each sequence's bytes from number `first` on (1 where it is not given): float64 [B].

    Raises ValueError where a sequence is longer than the model's context and one byte.
    """
    starts = np.ones(len(sequences), dtype=int) if first is None else np.asarray(first)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=int)
    found = np.empty(len(sequences))
    for rows, tokens_BN in _batches(model, sequences, lengths, model.config.context + 1):
        logits_BNV = _logits(model, tokens_BN[:, :-1])
        target_BN = tokens_BN[:, 1:]
        loss_T = functional.cross_entropy(
            logits_BNV.flatten(0, 1), target_BN.flatten(), reduction="none"
        )
        loss_BN = loss_T.view(target_BN.shape).double().cpu().numpy()
        place_N = 1 + np.arange(loss_BN.shape[1])
        counted_BN = (place_N >= starts[rows, None]) & (place_N < lengths[rows, None])
        found[rows] = np.where(counted_BN, loss_BN, 0.0).sum(1)
    return found


def next_byte(model: Decoder, sequences: Sequence[bytes]) -> np.ndarray:
    """log p of every byte after each sequence: float64 [B, 256]; ValueError as in `nats`."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=int)
    found = np.empty((len(sequences), model.config.vocab))
    for rows, tokens_BN in _batches(model, sequences, lengths, model.config.context):
        logits_BNV = _logits(model, tokens_BN)
        last_B = torch.from_numpy(lengths[rows] - 1).to(logits_BNV.device)
        logits_BV = logits_BNV[torch.arange(len(rows), device=last_B.device), last_B]
        found[rows] = logits_BV.log_softmax(-1).double().cpu().numpy()
    return found


@torch.inference_mode()
def _logits(model: Decoder, tokens_BN: Tensor) -> Tensor:
    with uncompiled(tokens_BN.device):
        return model(tokens_BN).logits_BNV.float()


def _batches(
    model: Decoder, sequences: Sequence[bytes], lengths: np.ndarray, longest: int
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Sequences of about one length together: their numbers, and their bytes, int64 [B, N].

    The shorter end in separators: what comes later changes nothing before it.
    """
    if len(lengths) and lengths.max() > longest:
        raise ValueError(f"{lengths.max()} bytes, the first of them context: the model takes {longest}")
    device = next(model.parameters()).device
    most = BATCH_BYTES.get(device.type, BATCH_BYTES["cpu"])
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        width = int(lengths[order[0]])
        rows, order = np.split(order, [max(1, most // width)])
        tokens_BN = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            tokens_BN[number, : lengths[row]] = np.frombuffer(sequences[row], dtype=np.uint8)
        yield rows, torch.from_numpy(tokens_BN).to(device)
