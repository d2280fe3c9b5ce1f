"""Parameters, FLOPs and bytes of a mixture-of-experts decoder, term by term.

L layers, d width, f = d_ffn / G width of an expert, E experts, K of them a token's, s shared, n context,
V symbols. For each term of `Counts`: parameters; FLOPs of a token, forward and backward; the convention.

| term | parameters | FLOPs | convention |
|---|---|---|---|
| embedding | V d | 0 | a look-up multiplies nothing; its backward pass only adds |
| attention projections | 4 L d^2 | 24 L d^2 | query, key, value, output ("attention" as parameters) |
| attention scores | 0 | 12 L n d | Q K^T and A V over the whole context, not halved for the causal mask |
| experts | 3 L E d f | 18 L K d f | gate, up, down; dropless, so exactly K a token |
| shared experts | 3 L s d f | 18 L s d f | every token passes them |
| router | L d E | 6 L d E | every token, all E rows; a dense model (E = 1) has none |
| norms | 4 L d + d | 0 | before attention, before the experts, on queries, on keys; at the end |
| output | V d | 6 V d | not tied to the embedding; every position |

Conventions behind them, all of them choices, so all of them named:

- A product of an (m, k) and a (k, n) matrix is 2 m k n FLOPs; nothing but matrix products counts: norms,
  softmax, activations, rotary embeddings, top-k, the weighting of the experts' outputs are 0.
- The backward pass is twice the forward pass: one product for the inputs, one for the weights.
- Attention is counted over the whole context, as Abnar et al. (2025) and torch's FlopCounterMode count it;
  Kaplan et al. (2020, Table 1) count half of that. torch agrees with the first two points as well.
- "Active" parameters are those that a token's forward pass uses: K experts of E, and everything else,
  the whole tables of symbols among it.
- "Embedding" parameters are the input table and the output projection.
- Recomputation, the optimiser and evaluation are no part of C.

The formulae are plain arithmetic: they take whole numbers, real numbers (a family continued between
its members, as the optimum needs) or numpy arrays alike. Other conventions: `architecture.conventions`.
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
