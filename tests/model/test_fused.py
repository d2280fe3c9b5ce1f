"""The fused operations of a CPU against plain torch, in value and gradient.

Shapes: T tokens, B sequences of N tokens, D width, F expert width, E experts, K experts of a token,
V symbols, H heads of two halves of J numbers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from moebook.model import fused
from moebook.model.decoder import rotary_tables
from moebook.model.router import route_by_definition

TYPES = torch.float64, torch.float32
TOKENS = st.one_of(st.integers(1, 20), st.sampled_from([64, 65, 126, 127, 128, 129, 256, 257, 300]))
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 70))


class Operation(NamedTuple):
    """`fused` and its definition, functions of tensors that give a tuple of tensors; inputs in float64."""

    fused: Callable
    plain: Callable
    inputs: tuple[Tensor, ...]


def normal(seed, *shape, spread=1.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * spread


def a_norm(tokens, width, seed=0):
    epsilon = 0.3 if width < 4 else 1e-5  # at width 1 a gradient without it is nothing but rounding
    return Operation(
        lambda x, scale: (fused.norm(x, scale, epsilon),),
        lambda x, scale: (functional.rms_norm(x, (width,), scale, epsilon),),
        (normal(seed, tokens, width), 1 + normal(seed + 1, width)),
    )


def some_heads(batch, length, heads, half, seed=0):
    width, epsilon = 2 * heads * half, 0.3 if heads * half < 4 else 1e-5
    tables = rotary_tables(length, 2 * half, 100.0)

    def by_complex_numbers(qkv, scale_q, scale_k):
        q, k, v = qkv.chunk(3, -1)
        turn_NJ = torch.complex(*(table[:, :half].to(qkv.dtype) for table in tables))
        placed = []
        for x, scale in ((q, scale_q), (k, scale_k)):
            x = functional.rms_norm(x, (width,), scale, epsilon).unflatten(-1, (heads, 2, half))
            turned = torch.complex(x[..., 0, :], x[..., 1, :]) * turn_NJ[:, None]
            placed.append(torch.cat((turned.real, turned.imag), -1).transpose(1, 2))
        return *placed, v.unflatten(-1, (heads, -1)).transpose(1, 2)

    def by_kernel(qkv, scale_q, scale_k):
        return fused.placed_heads(qkv, scale_q, scale_k, *(t.to(qkv.dtype) for t in tables), epsilon)

    scales = 1 + normal(seed + 1, width), 1 + normal(seed + 2, width)
    return Operation(by_kernel, by_complex_numbers, (normal(seed, batch, length, 3 * width), *scales))


def a_loss(tokens, vocab, seed=0):
    target_T = torch.randint(vocab, (tokens,), generator=torch.Generator().manual_seed(seed))
    return Operation(
        lambda logits: (fused.loss(logits, target_T),),
        lambda logits: (functional.cross_entropy(logits, target_T),),
        (normal(seed, tokens, vocab),),
    )


def a_swiglu(tokens, width, expert_width, seed=0):
    def plain(x, w_in, w_out):
        gate, up = (x @ w_in[0]).chunk(2, -1)
        return ((functional.silu(gate) * up) @ w_out[0],)

    w_in = normal(seed + 1, 1, width, 2 * expert_width, spread=width**-0.5)
    w_out = normal(seed + 2, 1, expert_width, width, spread=expert_width**-0.5)
    return Operation(lambda *a: (fused.swiglu(*a),), plain, (normal(seed, tokens, width), w_in, w_out))


def route_given(logits_TE, expert_TK, renormalise):
    """Weights, balance loss and z-loss of a choice of experts, by definition."""
    tokens, active = expert_TK.shape
    experts = logits_TE.shape[1]
    p_TE = logits_TE.softmax(-1)
    weight_TK = p_TE.gather(-1, expert_TK)
    if renormalise and active > 1:
        weight_TK = weight_TK / weight_TK.sum(-1, keepdim=True)
    load_E = torch.bincount(expert_TK.flatten(), minlength=experts).to(p_TE.dtype) / (tokens * active)
    balance_loss = experts * (load_E * p_TE.mean(0)).sum()
    return weight_TK, balance_loss, logits_TE.logsumexp(-1).square().mean()


def a_routing(tokens, experts, active, renormalise=True, biased=False, seed=0, logits_TE=None):
    """The definition is of the experts that the kernel chose, which must be among the best."""
    logits_TE = normal(seed, tokens, experts) if logits_TE is None else logits_TE
    bias_E = normal(seed + 1, experts, spread=0.2) if biased else None

    def by_kernel(logits_TE):
        return [part.t() if part.ndim == 2 else part for part in fused.route(
            logits_TE.t(), active, renormalise, None if bias_E is None else bias_E.to(logits_TE.dtype))]

    def plain(logits_TE):
        return route_given(logits_TE, chosen_TK, renormalise)

    chosen_TK = by_kernel(logits_TE)[0]
    return Operation(lambda logits_TE: by_kernel(logits_TE)[1:4], plain, (logits_TE,))


def results(function, inputs, dtype, asked=None, used=None):
    """Outputs, then gradients of `inputs`, for uneven gradients of the outputs.

    Args:
        asked: inputs whose gradients to take; all, if not said.
        used: outputs that have a gradient.
    """
    leaves = [x.to(dtype).clone().requires_grad_(asked is None or i in asked) for i, x in enumerate(inputs)]
    outputs = function(*leaves)
    total = 0
    for i, output in enumerate(outputs):
        if used is None or i in used:
            direction = torch.arange(1, output.numel() + 1).double().mul(2.4 + i).sin()
            total = total + (output * direction.to(dtype).view_as(output)).sum()
    if total.requires_grad:
        total.backward()
    return [output.detach() for output in outputs] + [leaf.grad for leaf in leaves]


def assert_same(operation, dtype, **parts):
    """In float64 to 1e-10 of the largest; in fp32 not much farther off than plain torch.

    Of a few numbers, any of which may be a small sum of large ones; many are in the test of SUMMED.
    """
    rounded = [x.to(dtype).double() for x in operation.inputs]
    found = results(operation.fused, rounded, dtype, **parts)
    plain = results(operation.plain, rounded, dtype, **parts)
    truth = results(operation.plain, rounded, torch.float64, **parts)
    for i, (ours, torchs, true) in enumerate(zip(found, plain, truth, strict=True)):
        if true is None:  # not asked for, or not a function of it
            assert ours is None or not ours.any(), f"result {i}"
            continue
        assert ours.dtype == dtype and ours.shape == true.shape, f"result {i}"
        largest = true.abs().max().item()
        error, own = ((x.double() - true).abs().max().item() for x in (ours, torchs))
        limit = 1e-10 * largest if dtype == torch.float64 else max(3 * own, 2e-5 * largest)
        assert error <= limit, f"result {i}: {error:.2e}, plain torch {own:.2e}, of {largest:.2e}"


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(tokens=TOKENS, width=SIZES, seed=st.integers(0, 999))
def test_norm(dtype, tokens, width, seed):
    assert_same(a_norm(tokens, width, seed), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 3), length=TOKENS, heads=st.integers(1, 5), half=st.integers(1, 9),
       seed=st.integers(0, 999))  # fmt: skip
def test_placed_heads(dtype, batch, length, heads, half, seed):
    assert_same(some_heads(batch, length, heads, half, seed), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(tokens=TOKENS, vocab=SIZES, seed=st.integers(0, 999))
def test_loss(dtype, tokens, vocab, seed):
    assert_same(a_loss(tokens, vocab, seed), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=40, deadline=None)
@given(tokens=TOKENS, width=SIZES, expert_width=SIZES, seed=st.integers(0, 999))
def test_dense_swiglu(dtype, tokens, width, expert_width, seed):
    assert_same(a_swiglu(tokens, width, expert_width, seed), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), tokens=TOKENS, experts=st.integers(2, 70), renormalise=st.booleans(),
       biased=st.booleans(), seed=st.integers(0, 999))  # fmt: skip
def test_routing(dtype, data, tokens, experts, renormalise, biased, seed):
    active = data.draw(st.integers(1, min(5, experts)))
    assert_same(a_routing(tokens, experts, active, renormalise, biased, seed), dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_routing_to_the_only_expert(dtype):
    """Weights of one, a balance loss of one, neither with a gradient; z is the logit."""
    logits_TE = normal(0, 130, 1).to(dtype)
    weight_TK, balance_loss, z_loss, gradient_TE = results(a_routing(130, 1, 1).fused, [logits_TE], dtype)
    assert (weight_TK == 1).all() and balance_loss.item() == pytest.approx(1, rel=1e-6)
    assert z_loss.item() == pytest.approx(logits_TE.square().mean().item(), rel=1e-6)
    (z_alone_TE,) = results(a_routing(130, 1, 1).fused, [logits_TE], dtype, used=[2])[3:]
    torch.testing.assert_close(z_alone_TE, 2 / 130 * logits_TE * math.sin(4.4))
    torch.testing.assert_close(gradient_TE, z_alone_TE, rtol=0, atol=3e-7)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tokens=TOKENS, experts=SIZES, biased=st.booleans(), seed=st.integers(0, 999))
def test_the_choice_of_experts(data, tokens, experts, biased, seed):
    """In float64, without ties: the same as torch's, in the same order; shares of the load too."""
    active = data.draw(st.integers(1, min(5, experts)))
    logits_TE = normal(seed, tokens, experts)
    bias_E = normal(seed + 1, experts, spread=0.2) if biased else None
    expert_KT, *_, load_E = fused.route(logits_TE.t(), active, True, bias_E)
    truth = route_by_definition(logits_TE, active, True, bias_E)
    assert torch.equal(expert_KT.t(), truth.expert_TK)
    torch.testing.assert_close(load_E, truth.load_E, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_of_equal_experts_the_first_are_taken(dtype):
    logits_TE = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 0, 1, 1], [2, 0, 1, 1, 0]], dtype=dtype).repeat(50, 1)
    expert_KT = fused.route(logits_TE.t(), 3, True)[0]
    assert expert_KT.t().tolist() == [[0, 1, 2], [1, 3, 4], [0, 2, 3]] * 50


SUMMED = {
    "norm": a_norm(4096, 64), "odd norm": a_norm(1000, 37), "heads": some_heads(32, 128, 4, 8),
    "odd heads": some_heads(7, 131, 3, 5), "loss": a_loss(4096, 256), "odd loss": a_loss(1000, 77),
    "swiglu": a_swiglu(4096, 32, 32), "odd swiglu": a_swiglu(1000, 31, 13), "routing": a_routing(4096, 64, 2),
    "odd routing": a_routing(1000, 37, 3), "biased routing": a_routing(1000, 16, 1, biased=True),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMMED)
def test_over_many_tokens_fp32_is_as_exact_as_plain_torch(name):
    """Root mean square errors; sums over thousands of tokens lose digits where they are badly made."""
    operation = SUMMED[name]
    inputs = [x.float().double() for x in operation.inputs]
    truth = results(operation.plain, inputs, torch.float64)
    found = (results(f, inputs, torch.float32) for f in (operation.fused, operation.plain))
    for i, (ours, torchs, true) in enumerate(zip(*found, truth, strict=True)):
        error, own = ((x.double() - true).norm().item() for x in (ours, torchs))
        assert error <= max(2 * own, 2e-7 * true.norm().item()), f"result {i}: {error:.2e}, torch {own:.2e}"


SMALL = {
    "norm": a_norm(5, 3), "norm of one": a_norm(3, 1), "heads": some_heads(2, 3, 2, 1),
    "loss": a_loss(5, 17), "swiglu": a_swiglu(4, 3, 2), "routing": a_routing(6, 5, 2),
    "routing, as it is": a_routing(6, 5, 3, renormalise=False, biased=True),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_finite_differences(name):
    operation = SMALL[name]
    leaves = [x.clone().requires_grad_() for x in operation.inputs]
    assert torch.autograd.gradcheck(lambda *leaves: tuple(operation.fused(*leaves)), leaves)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", SMALL)
def test_only_the_gradients_asked_for_of_only_the_outputs_used(name, dtype):
    operation = SMALL[name]
    inputs, outputs = len(operation.inputs), len(operation.plain(*operation.inputs))
    for asked in range(1, 2**inputs):
        for used in range(1, 2**outputs):
            parts = {"asked": [i for i in range(inputs) if asked >> i & 1],
                     "used": [i for i in range(outputs) if used >> i & 1]}  # fmt: skip
            assert_same(operation, dtype, **parts)


@pytest.mark.parametrize("name", SMALL)
def test_without_any_gradient(name):
    operation = SMALL[name]
    leaves = [x.clone().requires_grad_() for x in operation.inputs]
    with torch.no_grad():
        found = operation.fused(*leaves)
    with torch.inference_mode():
        again = operation.fused(*(x.clone() for x in operation.inputs))
    for a, b, truth in zip(found, again, operation.plain(*operation.inputs), strict=True):
        assert not a.requires_grad and torch.equal(a, b)
        torch.testing.assert_close(a, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_strided_inputs_and_an_expanded_gradient(name):
    """Every other number of a wider tensor comes in; what comes back is one number, expanded."""
    operation = SMALL[name]
    found = []
    for function in (operation.fused, operation.plain):
        wide = [torch.stack((x, 7 * x + 1), -1).requires_grad_() for x in operation.inputs]
        outputs = function(*(x[..., 0] for x in wide))
        sum(output.sum() for output in outputs).backward()
        found.append([*outputs, *(x.grad for x in wide)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_second_derivative_is_refused_not_wrong():
    x = normal(0, 3, 4).requires_grad_()
    y = fused.norm(x, torch.ones(4, dtype=torch.float64), 1e-5)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("target", [-100, -1, 5, 2**40])
def test_a_target_that_is_no_symbol_is_refused(target):
    with pytest.raises(IndexError):
        fused.loss(torch.zeros(2, 5), torch.tensor([1, target]))


def row(*numbers):
    return torch.tensor([numbers, numbers[::-1]], dtype=torch.float64)


NEVER = -math.inf
EXTREME = {
    "far apart": row(-1e4, 0.0, 1e4, 3.0, -3.0),
    "all far up": row(1e4, 1e4, 1e4, 1e4, 1e4),
    "all far down": row(-1e4, -1e4, -1e4, -1e4, -1e4),
    "all equal": row(0.5, 0.5, 0.5, 0.5, 0.5),
    "denormal": row(1e-40, -1e-42, 3e-45, 0.0, 1e-39),
    "some forbidden": row(NEVER, 1.0, 2.0, NEVER, 0.5),
    "all but one forbidden": row(NEVER, 1.0, NEVER, NEVER, NEVER),
    "at the edge of underflow": row(-87.5, 0.0, -103.0, -104.0, -90.0),
    "huge": row(3e37, -3e37, 0.0, 1.0, 2.0),
}


def assert_same_where_finite(operation, inputs, dtype):
    """Outputs are finite where plain torch's are, gradients at least there; numbers are within its errors."""
    inputs = [x.to(dtype) for x in inputs]
    ours, plain = (results(f, inputs, dtype) for f in (operation.fused, operation.plain))
    truth = results(operation.plain, inputs, torch.float64)
    for i, (a, b, true) in enumerate(zip(ours, plain, truth, strict=True)):
        assert a.isfinite()[b.isfinite()].all(), f"result {i}: {a}, plain torch {b}"
        if i < len(ours) - len(inputs):
            assert torch.equal(a.isfinite(), b.isfinite()), f"output {i}: {a}, plain torch {b}"
        a, b, true = (x[b.isfinite()].double() for x in (a, b, true))
        if len(true):
            own, largest = (b - true).abs().max().item(), true.abs().max().item()
            limit = max(2 * own, (1e-6 if dtype == torch.float32 else 1e-10) * max(1, largest))
            assert (a - true).abs().max() <= limit, f"result {i}: {a}, plain torch {b}, truth {true}"


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("active", [1, 2])
@pytest.mark.parametrize("name", EXTREME)
def test_extreme_logits_of_a_router(name, active, dtype):
    logits_TE = EXTREME[name].to(dtype)
    assert_same_where_finite(a_routing(2, 5, active, logits_TE=logits_TE), [logits_TE], dtype)
    if name not in ("all far up", "all far down", "all equal", "denormal"):  # there all are the best
        first_T = fused.route(logits_TE.t(), active, True)[0][0]
        assert first_T.tolist() == logits_TE.argmax(1).tolist()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("name", EXTREME)
def test_extreme_logits_of_symbols(name, target, dtype):
    target_T = torch.tensor([target, 4 - target])
    operation = Operation(
        lambda logits: (fused.loss(logits, target_T),),
        lambda logits: (functional.cross_entropy(logits, target_T),), (),
    )  # fmt: skip
    assert_same_where_finite(operation, [EXTREME[name]], dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_saturated_gates(dtype):
    """Down to silu's own smallest values; a gate of -1e30 is far beyond any that a model can learn from."""
    gates = torch.tensor([[-1e6, -200, -89, -87, -30, 0, 1e-40, 30, 88, 200, 1e30]], dtype=torch.float64)
    for up in (1.0, -3.0, 1e-30):
        operation, ups = a_swiglu(1, 1, 11), torch.full_like(gates, up)
        inputs = torch.ones(1, 1), torch.cat((gates, ups), 1)[None], torch.ones(1, 11, 1)
        for ours, true in zip(*(results(f, inputs, dtype) for f in operation[:2]), strict=True):
            torch.testing.assert_close(ours, true, rtol=1e-6, atol=1e-30)


SPOILT = {
    "norm": a_norm(6, 5), "heads": some_heads(1, 4, 2, 3), "loss": a_loss(4, 21), "swiglu": a_swiglu(3, 4, 5),
    "routing": a_routing(4, 7, 2), "routing by one": a_routing(4, 7, 1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("name", SPOILT)
def test_a_number_that_is_none_does_not_hide(name, value, dtype):
    """One at a time, anywhere in the inputs: outputs are not finite where plain torch's are not."""
    operation = SPOILT[name]
    for which, x in enumerate(operation.inputs):
        for place in range(x.numel()):
            inputs = [x.to(dtype).clone() for x in operation.inputs]
            inputs[which].view(-1)[place] = value
            with torch.no_grad():
                for ours, plain in zip(operation.fused(*inputs), operation.plain(*inputs), strict=True):
                    assert not (ours.isfinite() & ~plain.isfinite()).any(), f"input {which}, number {place}"
