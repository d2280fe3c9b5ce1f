"""Other counts of training FLOPs in use, beside the exact one, to see how far they are off."""

from __future__ import annotations

from moebook.architecture.accounting import Number
from moebook.architecture.family import Family

EXACT = "term by term"
PAPER = "Abnar et al., router 14 d E"
PAPER_EQ_9 = "Abnar et al., Eq. 9"
SIX_N = "6 N_a"
SIX_N_NONEMBEDDING = "6 N_a without embeddings"


def abnar_flops_per_token(
    *, vocab: Number, context: Number, layers: Number, width: Number,
    granularity: Number, experts: Number, active: Number, ffn_ratio: Number = 4, router: Number = 14,
) -> Number:
    """The paper's count (Abnar et al. 2025, appendix), forward and backward.

    `layers (24 d^2 + 12 d context + 72/G K d^2 + 14 d E) + 6 vocab d`, where d_ffn = 4 d. Its Eq. 9 drops
    the router's 14 d E.

    Args:
        experts: E; 0 for a dense model, which has no router.
        ffn_ratio: d_ffn / d; the 72 is 18 of these.
        router: the 14, or 0 for Eq. 9. Its products are 6 (see `accounting`).
    """
    d = width
    feed_forward = 18 * ffn_ratio / granularity * active * d**2
    block = 24 * d**2 + 12 * d * context + feed_forward + router * d * experts
    return layers * block + 6 * vocab * d


def six_n_flops_per_token(params_active: Number) -> Number:
    """The rule of thumb C = 6 N_a D, per token; far off at small width.

    Kaplan et al. (2020) mean the parameters without embeddings, Hoffmann et al. (2022) all of them. With
    all, the input table counts as if it were a product; without, the output's product is missing; with
    either, so are the attention scores.
    """
    return 6 * params_active


def flops_by_convention(family: Family, width: Number, sparsity: Number) -> dict[str, Number]:
    """FLOPs of a token, forward and backward, by each convention; the exact count comes first.

    Args:
        width, sparsity: real numbers or arrays, broadcast together, as in `Family.counts_at`.
    """
    exact = family.counts_at(width, sparsity)
    routed = (sparsity > 0) * 1
    used = (family.active + family.shared_experts) * routed + family.granularity * (1 - routed)
    paper = {
        name: abnar_flops_per_token(
            vocab=family.vocab, context=family.context, layers=family.layers, width=width,
            granularity=family.granularity, active=used, ffn_ratio=family.ffn_ratio,
            experts=family.active / (1 - sparsity) * routed, router=router,
        )
        for name, router in ((PAPER, 14), (PAPER_EQ_9, 0))
    }  # fmt: skip
    return {
        EXACT: exact.flops_per_token, **paper, SIX_N: six_n_flops_per_token(exact.params_active),
        SIX_N_NONEMBEDDING: six_n_flops_per_token(exact.params_active_nonembedding),
    }  # fmt: skip
