"""The experts against their definition: a sum for each token, and `experts_by_loop`, in float64.

Shapes: T tokens, D width, F expert width, E experts, K experts of a token.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from moebook.architecture import Family, ModelConfig
from moebook.model import Decoder, fused
from moebook.model.decoder import Block, rotary_tables
from moebook.model.experts import Experts, experts_by_group, experts_by_loop
from moebook.model.router import route

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
NAMES = ("output", "gradient of x", "of the weights", "of gate and up", "of down")


def through_module(x_TD, expert_TK, weight_TK, in_EDF2, out_EFD):
    """As the model calls it: whatever path `Experts.forward` takes."""
    experts, width, twice = in_EDF2.shape
    module = Experts(experts, width, twice // 2)
    del module.in_EDF2, module.out_EFD  # plain tensors in their place, so that gradients reach the leaves
    module.in_EDF2, module.out_EFD = in_EDF2, out_EFD
    return module(x_TD, expert_TK, weight_TK)


FAST = [
    pytest.param(experts_by_group, id="grouped"), pytest.param(fused.experts, id="fused"),
    pytest.param(through_module, id="module"),
]  # fmt: skip


def draw(tokens, width, expert_width, experts, active, seed=0, spread=1.0):
    """Inputs in float64: x_TD, expert_TK, weight_TK, in_EDF2, out_EFD. A large `spread` skews the load."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logits_TE = normal(tokens, experts) + spread * normal(experts)
    routing = route(logits_TE, active, renormalise=True)
    w_in, w_out = normal(experts, width, 2 * expert_width), normal(experts, expert_width, width)
    x_TD = normal(tokens, width)
    return x_TD, routing.expert_TK, routing.weight_TK, w_in / width**0.5, w_out / expert_width**0.5


def value_and_gradients(by, inputs, dtype=torch.float64):
    """[output, gradients of x, weights, gate and up, down], for a gradient of the output that is not even."""
    x, expert_TK, *rest = inputs
    leaves = [t.detach().to(dtype).requires_grad_() for t in (x, *rest)]
    y_TD = by(leaves[0], expert_TK, *leaves[1:])
    direction = torch.linspace(-1, 2, y_TD.numel(), dtype=torch.float64).sin().view_as(y_TD)
    (y_TD * direction.to(dtype)).sum().backward()
    return [y_TD.detach(), *(leaf.grad for leaf in leaves)]


def assert_same(by, inputs, dtype):
    """`by` in `dtype` is the loop in float64 at the same numbers, relative to the largest of each."""
    rounded = [t.to(dtype) if t.is_floating_point() else t for t in inputs]
    found = value_and_gradients(by, rounded, dtype)
    truth = value_and_gradients(experts_by_loop, rounded)
    for name, a, b in zip(NAMES, found, truth, strict=True):
        assert a.dtype == dtype and a.shape == b.shape, name
        error = (a.double() - b).abs().max().item()
        assert error <= TOLERANCE[dtype] * b.abs().max().item(), f"{name}: {error}"


@pytest.mark.parametrize("active", [1, 2, 3])
def test_the_loop_is_the_sum_over_a_tokens_experts(active):
    x_TD, expert_TK, weight_TK, in_EDF2, out_EFD = draw(17, 5, 3, 6, active)
    for t in range(17):
        y_D = 0
        for e, weight in zip(expert_TK[t], weight_TK[t], strict=True):
            gate_F, up_F = (x_TD[t] @ in_EDF2[e]).split(3)
            y_D = y_D + weight * ((gate_F * torch.sigmoid(gate_F) * up_F) @ out_EFD[e])
        found_D = experts_by_loop(x_TD, expert_TK, weight_TK, in_EDF2, out_EFD)[t]
        torch.testing.assert_close(found_D, y_D, rtol=0, atol=1e-13)


@pytest.mark.parametrize("by", [pytest.param(experts_by_loop, id="loop"), *FAST])
@pytest.mark.parametrize("active", [1, 2])
def test_gradients_are_finite_differences(by, active):
    x_TD, expert_TK, *rest = draw(6, 4, 3, 4, active)
    leaves = [t.requires_grad_() for t in (x_TD, *rest)]
    assert torch.autograd.gradcheck(lambda x, *more: by(x, expert_TK, *more), leaves)


SHAPES = [  # T, D, F, E, K
    (96, 16, 12, 8, 1), (96, 16, 12, 8, 2), (96, 16, 12, 64, 1), (96, 16, 12, 4, 4), (96, 16, 12, 32, 2),
    (300, 64, 32, 5, 3), (40, 12, 20, 7, 2), (40, 7, 5, 6, 2), (33, 1, 1, 3, 1), (50, 32, 16, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("by", FAST)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_fast_path_is_the_loop_in_value_and_gradient(by, dtype, shape):
    assert_same(by, draw(*shape), dtype)


@pytest.mark.parametrize("by", FAST)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=40, deadline=None)
@given(
    data=st.data(), tokens=st.integers(1, 70), experts=st.integers(1, 40), spread=st.sampled_from([0, 1, 8])
)
def test_the_fast_path_is_the_loop_at_any_shape(by, dtype, data, tokens, experts, spread):
    sizes = st.one_of(st.integers(1, 40), st.integers(1, 10).map(lambda n: 4 * n))
    width, expert_width = data.draw(sizes), data.draw(sizes)
    active, seed = data.draw(st.integers(1, min(4, experts))), data.draw(st.integers(0, 999))
    assert_same(by, draw(tokens, width, expert_width, experts, active, seed, spread), dtype)


LOADS = {
    "one token": [[3]],
    "one token, two experts": [[5, 0]],
    "all to the first": [[0]] * 40,
    "all to the last": [[5]] * 40,
    "all to the same two": [[4, 2]] * 40,
    "first and last empty": [[1], [2], [2], [4]] * 9,
    "only two in use": [[0], [5]] * 20,
    "the same two in either order": [[1, 3], [3, 1]] * 20,
}


@pytest.mark.parametrize("by", FAST)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("load", LOADS)
def test_the_fast_path_is_the_loop_where_load_is_extreme(by, dtype, load):
    expert_TK = torch.tensor(LOADS[load])
    tokens, active = expert_TK.shape
    x_TD, _, weight_TK, in_EDF2, out_EFD = draw(tokens, 8, 12, 6, active)
    inputs = x_TD, expert_TK, weight_TK, in_EDF2, out_EFD
    assert_same(by, inputs, dtype)
    *_, gradient_in, gradient_out = value_and_gradients(by, inputs, dtype)
    for e in set(range(6)) - set(expert_TK.flatten().tolist()):
        assert not gradient_in[e].any() and not gradient_out[e].any(), f"expert {e} has no token"


@pytest.mark.parametrize("by", FAST)
@pytest.mark.parametrize("asked", [(0,), (2,), (3,), (1,), (0, 2)], ids=str)
def test_only_the_gradients_asked_for(by, asked):
    """Frozen weights, frozen inputs: what is asked for is right, the rest has none."""
    x_TD, expert_TK, *rest = draw(30, 8, 8, 4, 2)
    truth = value_and_gradients(experts_by_loop, (x_TD, expert_TK, *rest))[1:]
    leaves = [t.float().requires_grad_(i in asked) for i, t in enumerate((x_TD, *rest))]
    y_TD = by(leaves[0], expert_TK, *leaves[1:])
    direction = torch.linspace(-1, 2, y_TD.numel(), dtype=torch.float64).sin().view_as(y_TD)
    (y_TD * direction.float()).sum().backward()
    for i, (leaf, gradient) in enumerate(zip(leaves, truth, strict=True)):
        if i in asked:
            assert (leaf.grad - gradient).abs().max() <= 1e-5 * gradient.abs().max()
        else:
            assert leaf.grad is None


@pytest.mark.parametrize("by", FAST)
@pytest.mark.parametrize("active", [1, 2])
def test_an_expanded_gradient_and_a_strided_input(by, active):
    """`sum` sends back one number expanded; a slice of a wider tensor comes in."""
    x_TD, expert_TK, *rest = draw(30, 8, 8, 4, active)
    wide = torch.cat((x_TD, x_TD + 1), -1).float().requires_grad_()
    by(wide[:, :8], expert_TK, *(t.float() for t in rest)).sum().backward()
    x_TD.requires_grad_()
    experts_by_loop(x_TD, expert_TK, *rest).sum().backward()
    assert (wide.grad[:, :8] - x_TD.grad).abs().max() <= 1e-5 * x_TD.grad.abs().max()
    with torch.inference_mode():
        y_TD = by(x_TD.detach().float(), expert_TK, *(t.float() for t in rest))
    torch.testing.assert_close(y_TD, experts_by_loop(x_TD, expert_TK, *rest).float(), rtol=1e-5, atol=1e-5)


def relative_error(found, truth):
    return ((found.double() - truth).square().mean() / truth.square().mean()).sqrt().item()


@pytest.mark.parametrize("by, how", [
    (experts_by_group, "bf16"), (through_module, "bf16"), (through_module, "autocast"),
], ids=["function", "module", "autocast"])  # fmt: skip
@pytest.mark.parametrize("shape", [(512, 64, 32, 8, 2), (512, 64, 64, 8, 1), (256, 128, 32, 32, 4)], ids=str)
def test_in_bf16_the_error_is_that_of_a_dense_swiglu_of_the_same_width(by, how, shape):
    """Both against their own float64 value, at inputs that bf16 holds exactly."""
    inputs = [t.bfloat16().double() if t.is_floating_point() else t for t in draw(*shape)]

    def dense(x_TD, expert_TK, weight_TK, in_EDF2, out_EFD):
        gate_TF, up_TF = (x_TD @ in_EDF2[0]).chunk(2, -1)
        return (functional.silu(gate_TF) * up_TF) @ out_EFD[0] + 0 * weight_TK.sum()

    dtype = torch.bfloat16 if how == "bf16" else torch.float32
    errors = {}
    for name, function in (("dense", dense), ("experts", by)):
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
            found = value_and_gradients(function, inputs, dtype)
        truth = value_and_gradients(dense if name == "dense" else experts_by_loop, inputs)
        if name == "dense":
            found[2] = found[0]  # a dense layer has no weights: let its output's error stand for them
            truth[2] = truth[0]
        errors[name] = [relative_error(a, b) for a, b in zip(found, truth, strict=True)]
    for name, ours, limit in zip(NAMES, errors["experts"], errors["dense"], strict=True):
        assert 0 < ours <= 1.5 * limit < 0.03, f"{name}: {ours:.2e} against {limit:.2e}"


@pytest.mark.parametrize("by", [pytest.param(experts_by_loop, id="loop"), *FAST])
@pytest.mark.parametrize("active", [1, 2])
def test_permuted_tokens_give_permuted_outputs(by, active):
    x_TD, expert_TK, weight_TK, *rest = draw(50, 8, 12, 9, active)
    order_T = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    whole_TD = by(x_TD, expert_TK, weight_TK, *rest)
    permuted_TD = by(x_TD[order_T], expert_TK[order_T], weight_TK[order_T], *rest)
    torch.testing.assert_close(permuted_TD, whole_TD[order_T], rtol=0, atol=1e-12)


@pytest.mark.parametrize("active", [1, 2])
@pytest.mark.parametrize("biased", [False, True])
def test_permuting_experts_with_their_router_rows_changes_nothing(active, biased):
    config = ModelConfig(width=16, ffn_width=32, heads=1, granularity=2, experts=9, active=active,
                         shared_experts=1)
    block = Decoder(config, biased=biased).double().blocks[0]
    if biased:
        block.bias_E += torch.linspace(-0.2, 0.2, 9)
    generator = torch.Generator().manual_seed(2)
    x_BND = torch.randn(2, 20, 16, generator=generator, dtype=torch.float64)
    order_E = torch.randperm(9, generator=generator)
    tables = [table.double() for table in rotary_tables(20, 16, 1e4)]
    with torch.no_grad():
        before_BND, routing = block(x_BND, *tables)
        for tensor in (block.router_ED, block.experts.in_EDF2, block.experts.out_EFD):
            tensor.copy_(tensor[order_E])
        if biased:
            block.bias_E.copy_(block.bias_E[order_E])
        after_BND, permuted = block(x_BND, *tables)
    torch.testing.assert_close(after_BND, before_BND, rtol=0, atol=1e-12)
    torch.testing.assert_close(permuted.load_E, routing.load_E[order_E])
    torch.testing.assert_close(permuted.balance_loss, routing.balance_loss)


@pytest.mark.parametrize("config", [
    Family(context=16).config(16, 0.75), Family(context=16, granularity=1, active=1).config(24, 0.875),
    Family(context=16, active=1, shared_experts=1).config(12, 0.75), Family(context=16).config(16, 0),
], ids=["K = 2", "K = 1", "shared", "dense"])  # fmt: skip
def test_the_whole_model_in_float64_is_the_model_of_the_loop(config, monkeypatch):
    tokens_BN = torch.randint(256, (2, 17), generator=torch.Generator().manual_seed(0))
    found = []
    for loop in (False, True):
        if loop:
            monkeypatch.setattr(Experts, "forward", lambda self, x, expert, weight: experts_by_loop(
                x, expert, weight, self.in_EDF2, self.out_EFD))
        model = Decoder(config).double()
        out = model(tokens_BN[:, :-1])
        loss = functional.cross_entropy(out.logits_BNV.flatten(0, 1), tokens_BN[:, 1:].flatten())
        (loss + 0.1 * out.balance_loss + 0.1 * out.z_loss).backward()
        found.append([out.logits_BNV.detach(), *(p.grad for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max()


def test_ties_in_the_router_send_each_token_to_k_experts_the_same_way_twice():
    config = ModelConfig(width=16, ffn_width=32, heads=1, granularity=2, experts=6, active=2)
    block = Decoder(config).blocks[0]
    x_BND = torch.randn(1, 20, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        block.router_ED.zero_()
        (y_BND, routing), (again_BND, _) = (block(x_BND, *rotary_tables(20, 16, 1e4)) for _ in range(2))
    assert torch.equal(y_BND, again_BND) and y_BND.isfinite().all()
    assert all(len(set(chosen)) == 2 for chosen in routing.expert_TK.tolist())
    assert routing.weight_TK.tolist() == [[0.5, 0.5]] * 20


def test_dense_model_is_one_expert_of_weight_one():
    """E = 1 without router equals the sparse path with every token sent to expert 0 with weight 1."""
    model = Decoder(ModelConfig(width=16, ffn_width=32, heads=1))
    experts = model.blocks[0].experts
    x_TD = torch.randn(10, 16, generator=torch.Generator().manual_seed(0))
    routed_TD = experts(x_TD, torch.zeros(10, 1, dtype=torch.int64), torch.ones(10, 1))
    torch.testing.assert_close(experts.dense(x_TD), routed_TD)


@pytest.mark.parametrize("sparse", [True, False])
def test_shared_experts_are_experts_that_every_token_passes_with_weight_one(sparse):
    """A block with two shared experts adds, to what it is without, both of them for every token."""
    routed = {"granularity": 2, "experts": 6, "active": 2} if sparse else {"granularity": 2}
    config = ModelConfig(width=16, ffn_width=32, heads=1, shared_experts=2, **routed)
    block = Decoder(config).double().blocks[0]
    assert block.shared.in_EDF2.shape == (1, 16, 2 * 2 * 16)
    x_BND = torch.randn(2, 10, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tables = [table.double() for table in rotary_tables(10, 16, 1e4)]
    with torch.no_grad():
        whole_BND, _ = block(x_BND, *tables)
        gate_DF, up_DF = block.shared.in_EDF2[0].chunk(2, -1)
        halves = zip(gate_DF.chunk(2, -1), up_DF.chunk(2, -1), strict=True)
        in_EDF2 = torch.stack([torch.cat(gate_and_up, -1) for gate_and_up in halves])
        out_EFD = block.shared.out_EFD[0].unflatten(0, (2, 16))
        shared, block.shared = block.shared, None
        without_BND, _ = block(x_BND, *tables)
        y_TD = block.norm_experts(x_BND + block.attention(block.norm_attention(x_BND), *tables)).flatten(0, 1)
    both_TK, ones_TK = torch.tensor([[0, 1]]).repeat(20, 1), torch.ones(20, 2, dtype=torch.float64)
    sum_TD = experts_by_loop(y_TD, both_TK, ones_TK, in_EDF2, out_EFD)
    torch.testing.assert_close(whole_BND - without_BND, sum_TD.view_as(x_BND), rtol=0, atol=1e-12)
    assert shared.out_EFD.std().item() == pytest.approx((32**-0.5) / math.sqrt(4), rel=0.15)


def test_a_block_without_shared_experts_has_none():
    assert Block(ModelConfig(width=16, ffn_width=32, heads=1)).shared is None
