"""A model on paper: its shape, its parameters, its FLOPs and its bytes. Plain Python, no torch."""

from moebook.architecture.accounting import Counts, abnar_flops_per_token, six_n_flops_per_token
from moebook.architecture.config import ModelConfig, counts
from moebook.architecture.family import Family

__all__ = ["Counts", "Family", "ModelConfig", "abnar_flops_per_token", "counts", "six_n_flops_per_token"]
