"""A model on paper: its shape, its parameters, its FLOPs and its bytes. Plain Python, no torch."""

from moebook.architecture.accounting import Counts
from moebook.architecture.config import ModelConfig, counts
from moebook.architecture.conventions import (
    abnar_flops_per_token,
    flops_by_convention,
    six_n_flops_per_token,
)
from moebook.architecture.family import Family

__all__ = [
    "Counts", "Family", "ModelConfig", "abnar_flops_per_token", "counts", "flops_by_convention",
    "six_n_flops_per_token",
]  # fmt: skip
