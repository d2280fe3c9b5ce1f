from dataclasses import replace

import numpy as np
import pytest

from moebook.architecture import Family, ModelConfig, counts
from moebook.errors import InputError
from moebook.files import stored


def test_parameters_of_a_model_counted_by_hand():
    config = ModelConfig(width=8, ffn_width=16, heads=2, layers=3, granularity=2, experts=6,
                         active=2, vocab=10)
    block = 4 * 8 * 8 + 6 * 3 * 8 * 8 + 8 * 6 + 4 * 8
    assert counts(config).params == 10 * 8 + 3 * block + 8 + 8 * 10
    assert counts(config).params_active == counts(config).params - 3 * 4 * 3 * 8 * 8
    assert counts(config).params_nonembedding == 3 * block + 8
    assert config.sparsity == pytest.approx(2 / 3)


def test_flops_of_a_model_counted_by_hand():
    config = ModelConfig(width=8, ffn_width=16, heads=2, layers=1, experts=4, active=1, vocab=10, context=32)
    forward = 2 * 4 * 64 + 4 * 32 * 8 + 2 * 3 * 8 * 16 + 2 * 8 * 4 + 2 * 8 * 10
    assert counts(config).flops_per_token == 3 * forward


def test_terms_sum_to_totals():
    for sparsity in (0, 0.5, 15 / 16):
        found = counts(Family().config(48, sparsity))
        assert sum(found.parameter_terms.values()) == found.params
        assert sum(found.flop_terms.values()) == found.flops_per_token
        assert found.training_bytes() == 16 * found.params


@pytest.mark.parametrize("sparsity", [0, 0.5, 0.75, 0.9375, 63 / 64])
@pytest.mark.parametrize("family", [
    Family(), Family(granularity=1, active=1, layers=4), Family(granularity=4, active=4),
    Family(active=1, shared_experts=1), Family(granularity=4, active=2, shared_experts=3),
])  # fmt: skip
def test_the_continued_family_passes_through_its_members(family, sparsity):
    member = counts(family.config(32, sparsity))
    continued = family.counts_at(np.array([32.0]), np.array([sparsity]))
    for name in ("params", "params_active", "params_nonembedding", "params_active_nonembedding",
                 "flops_per_token"):
        assert getattr(continued, name)[0] == pytest.approx(getattr(member, name), rel=1e-12), name


def test_equal_active_flops_of_dense_and_sparse_but_for_the_router():
    dense, sparse = (counts(Family().config(32, s)).flop_terms for s in (0, 0.75))
    assert dense["experts"] == sparse["experts"]
    assert dense["router"] == 0 < sparse["router"]


def test_shared_experts_counted_by_hand():
    plain = ModelConfig(width=8, ffn_width=16, heads=2, layers=3, granularity=2, experts=6, active=2)
    shared = replace(plain, shared_experts=2)
    expert = 3 * 8 * 8
    assert shared.shared_width == 16 and shared.sparsity == plain.sparsity
    for name in ("params", "params_active", "params_nonembedding", "params_active_nonembedding"):
        assert getattr(counts(shared), name) - getattr(counts(plain), name) == 3 * 2 * expert, name
    assert counts(shared).flops_per_token - counts(plain).flops_per_token == 6 * 3 * 2 * expert
    assert counts(shared).flop_terms["shared experts"] == 6 * 3 * 2 * expert


def test_a_shared_expert_in_the_place_of_a_routed_one_keeps_the_dense_twins_flops():
    family = Family(granularity=4, active=3, shared_experts=1)
    dense, sparse = (counts(family.config(32, s)).flop_terms for s in (0, 0.75))
    assert dense["shared experts"] == 0 < sparse["shared experts"]
    assert dense["experts"] == sparse["experts"] + sparse["shared experts"]
    assert family.config(32, 0) == Family().config(32, 0)


def test_an_option_that_is_off_is_not_in_what_is_hashed():
    assert "shared_experts" not in stored(Family()) | stored(Family().config(16, 0))
    assert stored(Family(shared_experts=2))["shared_experts"] == 2


def test_heads_keep_an_even_width_near_the_one_aimed_at():
    widths = {12: 12, 16: 16, 24: 12, 32: 16, 40: 20, 48: 16, 64: 16}
    assert {w: Family(head_width=16).config(w, 0).head_width for w in widths} == widths


@pytest.mark.parametrize("change, field", [
    ({"experts": 1, "active": 2}, "experts"), ({"width": 0}, "width"), ({"heads": 3}, "heads"),
    ({"granularity": 3}, "granularity"), ({"layers": 1.5}, "layers"), ({"rope_theta": -1.0}, "rope_theta"),
    ({"shared_experts": -1}, "shared_experts"), ({"shared_experts": True}, "shared_experts"),
])
def test_impossible_models_are_refused_by_field(change, field):
    with pytest.raises(InputError, match=f"model: {field}: "):
        ModelConfig(**{"width": 16, "ffn_width": 32, "heads": 1, **change})


def test_a_sparsity_without_whole_experts_is_refused():
    with pytest.raises(InputError, match=r"sparsity: 0.3"):
        Family().config(16, 0.3)
