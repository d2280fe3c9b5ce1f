"""Parameters, FLOPs and bytes of a mixture-of-experts decoder, term by term.

Conventions, all of them choices, so all of them named:

- A product of an (m, k) and a (k, n) matrix is 2 m k n FLOPs; nothing but matrix products counts
  (norms, softmax, activations, rotary embeddings, the look-up of an embedding: 0).
- The backward pass is twice the forward pass.
- Attention is counted over the whole context, without halving for the causal mask, as
  Abnar et al. (2025), Kaplan et al. (2020) and torch's FlopCounterMode count it.
- Every token passes the router, K experts and all shared experts; a dense model has no router.
- "Active" parameters are those that a token's forward pass uses: K experts of E, and everything else.
- "Embedding" parameters are the input table and the output projection, which are not tied.

The formulae are plain arithmetic: they take whole numbers, real numbers (a family continued between
its members, as the optimum needs) or numpy arrays alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Number = Any  # int, float or numpy array


@dataclass(frozen=True)
class Counts:
    """What a model holds and costs. Parameters are counts; FLOPs are per token, forward and backward.

    `parameter_terms` sum to `params`; `flop_terms` sum to `flops_per_token`.
    """

    params: Number
    params_active: Number
    params_nonembedding: Number
    params_active_nonembedding: Number
    flops_per_token: Number
    parameter_terms: dict[str, Number]
    flop_terms: dict[str, Number]

    def training_bytes(self, bytes_per_param: int = 16) -> Number:
        """Bytes of weights, gradients and AdamW's two moments; 4 + 4 + 4 + 4 in fp32."""
        return self.params * bytes_per_param

    def weight_bytes(self, bytes_per_param: int = 4) -> Number:
        """Bytes of the weights alone, as an inference server holds them (4 in fp32, 2 in bf16)."""
        return self.params * bytes_per_param


def count(
    *, vocab: Number, context: Number, layers: Number, width: Number,
    expert_width: Number, experts: Number, active: Number, routed: Number, shared: Number = 0,
) -> Counts:
    """Count one shape.

    Args:
        vocab, context: symbols; tokens of a training sequence.
        layers, width: depth; residual width d.
        expert_width: hidden width f of one expert (three d x f matrices).
        experts, active: E and K.
        routed: 1 where there is a router, 0 in a dense model (an array where `experts` is one).
        shared: experts of the same width that every token passes, beside the E.
    """
    attention = 4 * width * width  # query, key, value, output
    expert = 3 * width * expert_width  # gate, up, down
    router = routed * width * experts
    norms = 4 * width  # before attention, before the experts, on queries, on keys
    parameter_terms = {
        "embedding": vocab * width,
        "attention": layers * attention,
        "experts": layers * expert * experts,
        "shared experts": layers * expert * shared,
        "router": layers * router,
        "norms": layers * norms + width,
        "output": vocab * width,
    }
    flop_terms = {
        "attention projections": 6 * layers * attention,
        "attention scores": 12 * layers * context * width,  # Q K^T and A V, 2 n d each, tripled
        "experts": 6 * layers * expert * active,
        "shared experts": 6 * layers * expert * shared,
        "router": 6 * layers * router,
        "output": 6 * vocab * width,
    }
    params = sum(parameter_terms.values())
    embedding = parameter_terms["embedding"] + parameter_terms["output"]
    idle = layers * expert * (experts - active)
    return Counts(
        params=params,
        params_active=params - idle,
        params_nonembedding=params - embedding,
        params_active_nonembedding=params - idle - embedding,
        flops_per_token=sum(flop_terms.values()),
        parameter_terms=parameter_terms,
        flop_terms=flop_terms,
    )


def abnar_flops_per_token(
    *, vocab: Number, context: Number, layers: Number, width: Number,
    granularity: Number, experts: Number, active: Number,
) -> Number:
    """The paper's count for d_ffn = 4 d (Abnar et al. 2025, appendix), forward and backward.

    `layers (24 d^2 + 12 d context + 72/G K d^2 + 14 d E) + 6 vocab d`. Its Eq. 9 drops the router's 14 d E.
    """
    d = width
    block = 24 * d**2 + 12 * d * context + 72 / granularity * active * d**2 + 14 * d * experts
    return layers * block + 6 * vocab * d


def six_n_flops_per_token(params_active: Number) -> Number:
    """The rule of thumb C = 6 N_a D, per token (Kaplan et al. 2020); far off at small width."""
    return 6 * params_active
