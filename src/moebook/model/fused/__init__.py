"""The model's operations on a CPU in as few passes as they need, each with its gradient written by hand.

They compute what the plain torch of `router`, `experts` and `decoder` defines. `takes` says whether they can;
where they cannot (another device, bf16, no numba) the plain torch computes.
"""

from moebook.model.fused.common import AVAILABLE, takes

if AVAILABLE:
    from moebook.model.fused.layers import loss, norm, placed_heads
    from moebook.model.fused.routing import route
    from moebook.model.fused.swiglu import experts, swiglu

__all__ = ["AVAILABLE", "experts", "loss", "norm", "placed_heads", "route", "swiglu", "takes"]
