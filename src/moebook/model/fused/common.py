"""Which tensors the fused operations take, and how they reach the kernels."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

AVAILABLE = importlib.util.find_spec("numba") is not None


def takes(*tensors: Tensor) -> bool:
    """Whether these can be computed here: on a CPU, fp32 or float64, with numba at hand."""
    return AVAILABLE and all(
        t.device.type == "cpu" and t.dtype in (torch.float32, torch.float64) for t in tensors
    ) and len({t.dtype for t in tensors}) == 1


def array(tensor: Tensor):
    """The tensor as a contiguous array of the kernels."""
    return tensor.detach().contiguous().numpy()
