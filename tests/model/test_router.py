"""The router against cases worked out by hand. Shapes: T tokens, E experts, K experts of a token."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moebook.model.router import bias_step, route

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], dtype=torch.float64))


def random_logits(tokens, experts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, experts, generator=generator, dtype=torch.float64)


def test_choice_and_weights_by_hand():
    routing = route(LOGITS, 2, renormalise=True)
    assert routing.expert_TK.tolist() == [[0, 1], [1, 2]]
    assert routing.weight_TK.flatten().tolist() == pytest.approx([7 / 9, 2 / 9, 2 / 3, 1 / 3])
    plain = route(LOGITS, 2, renormalise=False)
    assert plain.weight_TK.flatten().tolist() == pytest.approx([0.7, 0.2, 0.6, 0.3])
    assert route(LOGITS, 1, renormalise=True).weight_TK.flatten().tolist() == pytest.approx([0.7, 0.6])


@pytest.mark.parametrize("active, load, balance", [
    (1, [1 / 2, 1 / 2, 0], 3 * (0.5 * 0.4 + 0.5 * 0.4)),  # mean probabilities: 0.4, 0.4, 0.2
    (2, [1 / 4, 2 / 4, 1 / 4], 3 * (0.25 * 0.4 + 0.5 * 0.4 + 0.25 * 0.2)),
    (3, [1 / 3, 1 / 3, 1 / 3], 1.0),
])  # fmt: skip
def test_load_and_balance_loss_by_hand(active, load, balance):
    routing = route(LOGITS, active, renormalise=True)
    assert routing.load_E.tolist() == pytest.approx(load)
    assert routing.balance_loss.item() == pytest.approx(balance, rel=1e-12)


def test_z_loss_by_hand():
    assert route(LOGITS, 1, True).z_loss.item() == pytest.approx(0, abs=1e-12)  # probabilities sum to one
    logits = torch.log(torch.tensor([[1.0, 3.0], [8.0, 8.0]], dtype=torch.float64))
    expected = (math.log(4) ** 2 + math.log(16) ** 2) / 2
    assert route(logits, 1, True).z_loss.item() == pytest.approx(expected, rel=1e-12)


def test_even_load_has_balance_loss_one_and_collapse_has_e():
    even = route(torch.eye(4) * 0.01, 1, renormalise=True)
    assert even.balance_loss.item() == pytest.approx(1, abs=1e-6)
    collapsed = route(torch.tensor([[50.0, 0, 0, 0]]).repeat(8, 1), 1, renormalise=True)
    assert collapsed.balance_loss.item() == pytest.approx(4, abs=1e-4)
    half = route(torch.tensor([[50.0, 49, 0, 0]]).repeat(8, 1), 2, renormalise=True)
    assert half.balance_loss.item() == pytest.approx(2, abs=1e-4)  # two of four experts take everything


@pytest.mark.parametrize("active", [1, 2, 4])
def test_gradients_of_the_auxiliary_losses_by_hand(active):
    """d balance / d logit_te = E/T p_te (load_e - sum_j p_tj load_j); d z / d logit_te = 2/T lse_t p_te."""
    logits_TE = random_logits(20, 6).requires_grad_()
    routing = route(logits_TE, active, renormalise=True)
    p_TE, load_E = logits_TE.detach().softmax(-1), routing.load_E
    (found_TE,) = torch.autograd.grad(routing.balance_loss, logits_TE)
    torch.testing.assert_close(found_TE, 6 / 20 * p_TE * (load_E - (p_TE @ load_E)[:, None]))
    (found_TE,) = torch.autograd.grad(route(logits_TE, active, True).z_loss, logits_TE)
    torch.testing.assert_close(found_TE, 2 / 20 * logits_TE.detach().logsumexp(-1)[:, None] * p_TE)


@pytest.mark.parametrize("active", [1, 2, 3])
@pytest.mark.parametrize("biased", [False, True])
def test_gradients_are_finite_differences(active, biased):
    bias_E = torch.linspace(-0.1, 0.1, 5, dtype=torch.float64) if biased else None
    logits_TE = random_logits(7, 5, seed=3).requires_grad_()

    def differentiable(logits_TE):
        routing = route(logits_TE, active, True, bias_E)
        return routing.weight_TK, routing.balance_loss, routing.z_loss

    torch.autograd.gradcheck(differentiable, logits_TE)


def test_a_bias_chooses_and_nothing_else():
    """Probabilities 0.7, 0.2, 0.1 and 0.1, 0.6, 0.3."""
    bias_E = torch.tensor([0.0, 0.0, 0.35], dtype=torch.float64)
    one = route(LOGITS, 1, True, bias_E)
    assert one.expert_TK.tolist() == [[0], [2]]
    assert one.weight_TK.flatten().tolist() == pytest.approx([0.7, 0.3]), "the weight has no bias"
    two = route(LOGITS, 2, True, bias_E)
    assert two.expert_TK.tolist() == [[0, 2], [2, 1]]
    assert two.weight_TK.flatten().tolist() == pytest.approx([7 / 8, 1 / 8, 1 / 3, 2 / 3])
    assert two.load_E.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    assert two.balance_loss.item() == pytest.approx(3 * (0.25 * 0.4 + 0.25 * 0.4 + 0.5 * 0.2))
    assert two.z_loss.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("active", [1, 3])
def test_a_bias_of_zero_is_no_bias_to_the_bit(active):
    found = []
    for bias_E in (None, torch.zeros(8)):
        logits_TE = random_logits(50, 8).float().requires_grad_()
        routing = route(logits_TE, active, True, bias_E)
        (routing.weight_TK.square().sum() + routing.balance_loss + routing.z_loss).backward()
        found.append([*routing, logits_TE.grad])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_step_of_a_bias_by_hand():
    assert bias_step(torch.tensor([0.5, 0.25, 0.2, 0.05]), 0.125).tolist() == [-0.125, 0, 0.125, 0.125]
    thirds = torch.tensor([4, 4, 4]) / 12
    assert bias_step(thirds, 0.1).tolist() == [0, 0, 0], "even load moves nothing, whatever its rounding"


@pytest.mark.parametrize("active", [1, 2])
def test_nothing_is_read_back_to_the_host(active):
    """Tensors without data: whatever waited for a value, as a copy from a GPU does, would fail."""
    bias_E = torch.zeros(8, device="meta")
    routing = route(torch.empty(20, 8, device="meta"), active, True, bias_E)
    bias_E += bias_step(routing.load_E, 1e-3)
    assert routing.expert_TK.shape == (20, active) and bias_E.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        routing.load_E.max().item()


@pytest.mark.parametrize("active", [1, 2])
def test_a_collapsed_router_is_evened_by_biases_and_not_without(active):
    """Every token prefers the same experts; only the biases move."""
    logits_TE = random_logits(2000, 8) + torch.tensor([4.0, 3, 2, 0, 0, 0, 0, 0], dtype=torch.float64)
    bias_E = torch.zeros(8, dtype=torch.float64)
    before = route(logits_TE, active, True, bias_E)
    for _ in range(400):
        bias_E += bias_step(route(logits_TE, active, True, bias_E).load_E, 0.001)
    after = route(logits_TE, active, True, bias_E)
    assert 8 * before.load_E.max() > 3.5 and 8 * before.load_E.min() < 0.05
    assert 8 * after.load_E.max() < 1.2 and 8 * after.load_E.min() > 0.8


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(1, 40), experts=st.integers(1, 40), data=st.data(),
    values=st.integers(1, 3), renormalise=st.booleans(), biased=st.booleans(),
)  # fmt: skip
def test_ties_are_settled_the_same_way_twice_and_each_token_gets_k_experts(
    tokens, experts, data, values, renormalise, biased
):
    """Logits of few values: most choices are ties, all of them where there is one value."""
    active = data.draw(st.integers(1, min(4, experts)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    logits_TE = torch.randint(values, (tokens, experts), generator=generator).float()
    bias_E = torch.arange(experts).remainder(2) * 0.25 if biased else None
    routing, again = (route(logits_TE.clone(), active, renormalise, bias_E) for _ in range(2))
    assert torch.equal(routing.expert_TK, again.expert_TK) and torch.equal(routing.weight_TK, again.weight_TK)
    for chosen in routing.expert_TK.tolist():
        assert len(set(chosen)) == active and all(0 <= e < experts for e in chosen)
    total_T = routing.weight_TK.sum(-1)
    if renormalise and active > 1:
        torch.testing.assert_close(total_T, torch.ones(tokens))
    else:
        assert (total_T > 0).all() and (total_T <= 1 + 1e-6).all()
    assert routing.load_E.sum().item() == pytest.approx(1, abs=1e-6)
    score_TE = logits_TE.softmax(-1) + (0 if bias_E is None else bias_E)
    left_out_TE = score_TE.scatter(-1, routing.expert_TK, -math.inf)
    assert (score_TE.gather(-1, routing.expert_TK).min(-1).values >= left_out_TE.max(-1).values).all()


def test_a_token_is_routed_by_its_own_logits_alone():
    logits_TE = random_logits(30, 12)
    order_T = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    whole, shuffled = route(logits_TE, 2, True), route(logits_TE[order_T], 2, True)
    assert torch.equal(whole.expert_TK[order_T], shuffled.expert_TK)
    assert torch.equal(whole.weight_TK[order_T], shuffled.weight_TK)
    torch.testing.assert_close(whole.balance_loss, shuffled.balance_loss)
    shifted = route(logits_TE + 5, 2, True)
    torch.testing.assert_close(shifted.weight_TK, whole.weight_TK)
    torch.testing.assert_close(shifted.balance_loss, whole.balance_loss)
    assert shifted.z_loss > whole.z_loss, "the z-loss alone sees the logits' level"
