"""Other counts of FLOPs: what they are by hand, and how far they are off where."""

import numpy as np
import pytest

from moebook.architecture import (
    Family,
    ModelConfig,
    abnar_flops_per_token,
    counts,
    flops_by_convention,
    six_n_flops_per_token,
)
from moebook.architecture.conventions import EXACT, PAPER, PAPER_EQ_9, SIX_N, SIX_N_NONEMBEDDING


def test_the_papers_count_differs_only_in_its_router_where_d_ffn_is_four_d():
    config = ModelConfig(width=64, ffn_width=256, heads=4, layers=2, experts=8, active=2,
                         vocab=1000, context=256)
    shape = dict(vocab=1000, context=256, layers=2, width=64, granularity=1, experts=8, active=2)
    exact = counts(config).flops_per_token
    assert abnar_flops_per_token(**shape) - exact == 2 * (14 - 6) * 64 * 8
    assert exact - abnar_flops_per_token(**shape, router=0) == counts(config).flop_terms["router"]


def test_the_papers_count_written_out():
    """Width 100, G = 2, K = 3, E = 12, context 10, 5 symbols, one layer."""
    shape = dict(vocab=5, context=10, layers=1, width=100, granularity=2, experts=12, active=3)
    found = abnar_flops_per_token(**shape)
    assert found == 24 * 100**2 + 12 * 100 * 10 + 72 / 2 * 3 * 100**2 + 14 * 100 * 12 + 6 * 5 * 100


@pytest.mark.parametrize("family", [
    Family(), Family(granularity=1, active=1, ffn_ratio=4), Family(granularity=4, active=3, shared_experts=1),
])  # fmt: skip
@pytest.mark.parametrize("sparsity", [0, 0.75, 15 / 16])
def test_every_convention_at_every_member_of_a_family(family, sparsity):
    for width in (8, 32, 256):
        member = counts(family.config(width, sparsity))
        found = flops_by_convention(family, width, sparsity)
        assert found[EXACT] == member.flops_per_token
        assert found[PAPER_EQ_9] == pytest.approx(found[EXACT] - member.flop_terms["router"])
        assert found[PAPER] == pytest.approx(found[EXACT] + 8 / 6 * member.flop_terms["router"])
        assert found[SIX_N] == six_n_flops_per_token(member.params_active)
        assert found[SIX_N_NONEMBEDDING] == 6 * member.params_active_nonembedding


def test_what_six_n_misses_is_what_its_docstring_says():
    """6 N_a less the exact count: the input table and the norms too many, the attention scores missing."""
    for sparsity in (0, 0.75):
        member = counts(Family().config(32, sparsity))
        terms, flops = member.parameter_terms, member.flop_terms
        extra = 6 * (terms["embedding"] + terms["norms"])
        found = flops_by_convention(Family(), 32, sparsity)
        assert found[SIX_N] - found[EXACT] == extra - flops["attention scores"]
        without = 6 * terms["norms"] - flops["attention scores"] - flops["output"]
        assert found[SIX_N_NONEMBEDDING] - found[EXACT] == without


def test_rules_of_thumb_are_far_off_at_small_width_and_nearly_right_at_large():
    width, sparsity = np.array([8.0, 32, 1024]), np.array([[0], [15 / 16]])
    found = flops_by_convention(Family(), width, sparsity)
    ratio = {name: flops / found[EXACT] for name, flops in found.items()}
    for name in (SIX_N, SIX_N_NONEMBEDDING):
        assert ratio[name].shape == (2, 3)
        assert (np.diff(ratio[name]) > 0).all() and (ratio[name] < 1).all()
        assert (ratio[name][:, -1] > 0.95).all()
    assert (ratio[SIX_N_NONEMBEDDING][:, 0] < 0.25).all(), "three quarters of the work are missing"
    assert (ratio[SIX_N][:, 1] < 0.85).all()
    assert (ratio[PAPER][0] == 1).all() and (ratio[PAPER_EQ_9][0] == 1).all(), "a dense model has no router"
    assert ratio[PAPER][1, 0] > 1.05 and ratio[PAPER_EQ_9][1, 0] < 0.95
