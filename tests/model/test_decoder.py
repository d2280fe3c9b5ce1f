import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moebook.architecture import Family, ModelConfig, counts
from moebook.model import Decoder
from moebook.model.experts import experts_by_group, experts_by_loop
from moebook.model.router import route


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


SHAPES = [(8, 1), (8, 2), (64, 1), (4, 4), (32, 2)]


@pytest.mark.parametrize("experts, active", SHAPES)
def test_grouped_experts_are_the_loop_in_value_and_gradient(generator, experts, active):
    x = torch.randn(96, 16, generator=generator)
    routing = route(torch.randn(96, experts, generator=generator), active, renormalise=True)
    w_in = torch.randn(experts, 16, 24, generator=generator) / 4
    w_out = torch.randn(experts, 12, 16, generator=generator) / 4
    found = {}
    for by in (experts_by_loop, experts_by_group):
        leaves = [t.clone().requires_grad_() for t in (x, routing.weight_TK, w_in, w_out)]
        y = by(leaves[0], routing.expert_TK, *leaves[1:])
        y.square().sum().backward()
        found[by] = [y, *(leaf.grad for leaf in leaves)]
    for loop, group in zip(*found.values(), strict=True):
        assert (loop - group).abs().max() <= 1e-5 * loop.abs().max()


@pytest.mark.parametrize("pattern", ["all to one", "one token", "empty experts"])
def test_grouped_experts_where_load_is_extreme(generator, pattern):
    tokens = 1 if pattern == "one token" else 40
    expert = torch.zeros(tokens, 1, dtype=torch.int64)
    if pattern == "empty experts":
        expert[::2] = 5
    x = torch.randn(tokens, 8, generator=generator)
    weight = torch.rand(tokens, 1, generator=generator)
    w_in, w_out = torch.randn(6, 8, 16, generator=generator), torch.randn(6, 8, 8, generator=generator)
    torch.testing.assert_close(
        experts_by_group(x, expert, weight, w_in, w_out), experts_by_loop(x, expert, weight, w_in, w_out),
        rtol=1e-5, atol=1e-5,
    )


def test_router_by_hand():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
    routing = route(logits, 2, renormalise=True)
    assert routing.expert_TK.tolist() == [[0, 1], [1, 2]]
    torch.testing.assert_close(routing.weight_TK, torch.tensor([[7 / 9, 2 / 9], [2 / 3, 1 / 3]]))
    load = torch.tensor([1, 2, 1]) / 4
    torch.testing.assert_close(routing.load_E, load)
    torch.testing.assert_close(routing.balance_loss, 3 * (load * torch.tensor([0.4, 0.4, 0.2])).sum())
    torch.testing.assert_close(routing.z_loss, torch.tensor(0.0), atol=1e-6, rtol=0)
    assert route(logits, 1, renormalise=True).weight_TK.flatten().tolist() == pytest.approx([0.7, 0.6])


def test_even_load_has_balance_loss_one_and_collapse_has_e():
    even = route(torch.eye(4) * 0.01, 1, renormalise=True)
    assert even.balance_loss.item() == pytest.approx(1, abs=1e-6)
    collapsed = route(torch.tensor([[50.0, 0, 0, 0]]).repeat(8, 1), 1, renormalise=True)
    assert collapsed.balance_loss.item() == pytest.approx(4, abs=1e-4)


@pytest.mark.parametrize("width", [16, 24, 48, 64])
@pytest.mark.parametrize("sparsity", [0, 0.75, 0.9375])
def test_counted_flops_are_torchs(width, sparsity):
    config = Family().config(width, sparsity)
    model = Decoder(config)
    if config.routed:  # torch's counter does not know grouped_mm: count the loop, the same products
        for block in model.blocks:
            experts = block.experts
            experts.forward = lambda x, e, w, experts=experts: experts_by_loop(
                x, e, w, experts.in_EDF2, experts.out_EFD
            )
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # nor the fused attention of the CPU
        model(torch.zeros(2, config.context, dtype=torch.int64))
    assert 3 * counter.get_total_flops() == counts(config).flops_per_token * 2 * config.context


def test_a_token_never_sees_what_follows(generator):
    model = Decoder(Family(context=32).config(32, 0.75))
    tokens = torch.randint(256, (1, 32), generator=generator)
    changed = tokens.clone()
    changed[0, 20:] = 7
    with torch.no_grad():
        a, b = model(tokens).logits_BNV, model(changed).logits_BNV
    torch.testing.assert_close(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])


def test_dense_model_is_one_expert_of_weight_one(generator):
    """E = 1 without router equals the sparse path with every token sent to expert 0 with weight 1."""
    model = Decoder(ModelConfig(width=16, ffn_width=32, heads=1))
    experts = model.blocks[0].experts
    x = torch.randn(10, 16, generator=generator)
    routed = experts(x, torch.zeros(10, 1, dtype=torch.int64), torch.ones(10, 1))
    torch.testing.assert_close(experts.dense(x), routed)


def test_untrained_loss_is_that_of_a_uniform_guess(generator):
    model = Decoder(Family().config(32, 0.75))
    tokens = torch.randint(256, (4, 129), generator=generator)
    with torch.no_grad():
        out = model(tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(out.logits_BNV.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(256), abs=0.05)
    assert out.load_LE.shape == (2, 8) and out.load_LE.sum(1).tolist() == pytest.approx([1, 1])


def test_same_seed_same_model_other_seed_other_model():
    config = Family().config(16, 0.75)
    a, b, c = (Decoder(config, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])
