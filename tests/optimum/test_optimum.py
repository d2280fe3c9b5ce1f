"""The optimum against brute force, a case solved by hand, edges, verdicts, claims."""

import numpy as np
import pytest

from moebook import laws
from moebook.architecture import Family
from moebook.bayes import FailedPosterior
from moebook.errors import InputError
from moebook.optimum import claims, fitted_span, optimum, width_of
from moebook.optimum.minimum import lowest

PUBLISHED = laws.get("abnar").published
BIG = Family(vocab=50432, context=2048, layers=16, ffn_ratio=4, head_width=64)


def brute(coefficients, compute, family, widths, top, params=None, points=(1501, 1501)):
    """(S*, N*, loss) on a fine grid, the law and the accounting called point by point."""
    sparsity = -np.expm1(-np.linspace(0, -np.log1p(-top), points[0]))
    if params is None:
        width, sparsity = np.meshgrid(np.geomspace(*widths, points[1]), sparsity)
    else:
        width = width_of(params, sparsity, family)
    counts = family.counts_at(width, sparsity)
    loss = laws.get("abnar")(coefficients, counts.params, compute / counts.flops_per_token, sparsity)
    best = np.unravel_index(loss.argmin(), loss.shape)
    return sparsity[best], counts.params[best], loss[best]


@pytest.mark.parametrize("compute", [3e19, 3e20, 1e21])
def test_published_coefficients_against_brute_force(make, compute):
    widths = (256, 512, 1024, 2048, 4096)
    posterior = make([PUBLISHED], budgets=(3e19, 1e21), sparsities=(0.0, 0.5, 0.9, 0.98), widths=widths)
    found = optimum(posterior, compute, family=BIG)
    span = fitted_span(posterior, BIG).widths
    sparsity, params, loss = brute(PUBLISHED, compute, BIG, span, 0.98)
    assert found.loss_star_nats[0] == pytest.approx(loss, rel=1e-5)
    assert -np.log1p(-found.sparsity_star[0]) == pytest.approx(-np.log1p(-sparsity), abs=0.02)
    assert found.params_star[0] == pytest.approx(params, rel=0.02)


@pytest.mark.parametrize("params", [3e4, 1e5, 4e5])
def test_fixed_size_against_brute_force(make, byte_models, params):
    found = optimum(make([byte_models]), 3e11, params=params)
    sparsity, _, loss = brute(byte_models, 3e11, Family(), None, 0.9, params=params, points=(20001, 1))
    # Near S = 0 the family jumps by a router, which the coarser grid sees one step later.
    assert found.loss_star_nats[0] == pytest.approx(loss, rel=1e-4)
    assert -np.log1p(-found.sparsity_star[0]) == pytest.approx(-np.log1p(-sparsity), abs=0.03)
    assert found.params_star[0] == params


def test_free_size_against_brute_force_at_byte_models(make, byte_models):
    posterior = make([byte_models], sparsities=(0.0, 0.5, 0.9, 0.98), widths=(8, 16, 64, 128))
    found = optimum(posterior, 3e11)
    sparsity, params, loss = brute(byte_models, 3e11, Family(), fitted_span(posterior, Family()).widths, 0.98)
    assert found.loss_star_nats[0] == pytest.approx(loss, rel=1e-5)
    assert found.sparsity_star[0] == pytest.approx(sparsity, abs=0.01)
    assert found.params_star[0] == pytest.approx(params, rel=0.02)


def solved(star, strength=0.2):
    """Coefficients with the minimum in S at `star` whatever N and D: c u^k + d / u^k, u = 1 - S, gamma ~ 0.

    Its derivative in log u vanishes where u^2k = d / c, so d = c (1 - star)^2k.
    """
    k = 0.5
    return {
        "alpha": 0.3, "beta": 0.3, "gamma": 1e-9, "lambda": -k, "delta": k,
        "a": 1e-9, "b": 1e-9, "c": strength, "d": strength * (1 - star) ** (2 * k), "e": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("star", [0.2, 0.5, 0.8])
def test_an_optimum_known_by_hand(make, star):
    found = optimum(make([solved(star)]), 3e11, params=1e5)
    assert found.sparsity_star == pytest.approx(star, abs=2e-3)
    assert found.edge == {"sparsity_low": 0.0, "sparsity_high": 0.0}


def test_draws_have_their_own_optimum_and_edges_are_counted(make):
    stars = [0.3, 0.5, 0.7, 0.999]  # the last lies beyond the largest fitted sparsity
    found = optimum(make([solved(star) for star in stars]), 3e11, params=1e5)
    assert found.sparsity_star.reshape(2, 4)[0] == pytest.approx([0.3, 0.5, 0.7, 0.9], abs=3e-3)
    assert found.edge["sparsity_high"] == 0.25
    edge = "25 % of the mass lies at the edge, the largest fitted sparsity, S = 0.9"
    assert found.verdict == f"not identified: {edge}"
    assert not found.identified
    dense = dict(solved(0.5), d=1.0)  # sparsity only hurts
    found = optimum(make([dense] * 3 + [solved(0.5)]), 3e11, params=1e5)
    assert found.edge["sparsity_low"] == 0.75
    assert "dense is best in 75 % of the draws, so whether to be sparse is open" in found.verdict
    always = optimum(make([dense] * 4), 3e11, params=1e5)
    assert always.edge["sparsity_low"] == 1.0
    assert "open" not in always.verdict, "that dense is best is an answer"
    assert found.sparsity_star.reshape(2, 4)[0, :3] == pytest.approx(0.0)


def test_what_the_prior_decides_is_not_identified(make):
    vague = [solved(star) for star in np.linspace(0.1, 0.85, 16)]
    found = optimum(make(vague, prior=vague), 3e11, params=1e5)
    assert found.contraction == pytest.approx(0.0, abs=0.01)
    assert "the prior decides" in found.verdict
    sharp = [solved(star) for star in np.linspace(0.5, 0.52, 16)]
    found = optimum(make(sharp, prior=vague), 3e11, params=1e5)
    assert found.contraction > 0.9 and found.identified


def test_the_budget_is_spent_exactly_and_sizes_agree(make, byte_models):
    family = Family()
    found = optimum(make([byte_models, solved(0.5)]), 3e11)
    width = width_of(found.params_star, found.sparsity_star, family)
    counts = family.counts_at(width, found.sparsity_star)
    assert found.tokens_star * counts.flops_per_token == pytest.approx(3e11)
    assert found.params_active_star == pytest.approx(counts.params_active)
    assert (found.params_active_star <= found.params_star).all()


def test_width_edges_are_counted(make, byte_models):
    small_is_best = dict(byte_models, a=1e-9, d=1e-9)
    assert optimum(make([small_is_best]), 3e11).edge["width_low"] == 1.0
    large_is_best = dict(byte_models, b=1e-9)
    found = optimum(make([large_is_best]), 3e11)
    assert found.edge["width_high"] == 1.0
    assert "largest fitted width" in found.verdict


def test_budgets_beyond_the_runs_are_flagged(make, byte_models):
    posterior = make([byte_models], budgets=(1e11, 1e12))
    assert optimum(posterior, 3e11).extrapolation == 1
    assert optimum(posterior, 1e12).extrapolation == 1
    assert optimum(posterior, 1e13).extrapolation == pytest.approx(10)
    assert optimum(posterior, 1e10).extrapolation == pytest.approx(10)
    assert optimum(posterior, 1e15, params=1e5).outside["tokens"] == 1.0


def test_intervals_and_identity(make):
    stars = np.linspace(0.3, 0.7, 101)
    posterior = make([solved(star) for star in stars])
    found = optimum(posterior, 3e11, params=1e5)
    assert found.median() == pytest.approx(0.5, abs=3e-3)
    assert found.interval(0.5) == pytest.approx((0.4, 0.6), abs=4e-3)
    assert found.interval() == pytest.approx((0.32, 0.68), abs=4e-3)
    assert found.identity == posterior.identity
    other = optimum(posterior, 3.1e11, params=1e5)
    assert other.estimate_identity != found.estimate_identity
    assert optimum(posterior, 3e11, params=1e5).estimate_identity == found.estimate_identity
    summary = found.summary()
    assert summary["sparsity_star"]["interval_90"] == list(found.interval())


def test_a_failed_posterior_answers_nothing(make, byte_models):
    posterior = make([byte_models])
    posterior.summary["status"] = "failed"
    with pytest.raises(FailedPosterior):
        optimum(posterior, 3e11)
    with pytest.raises(FailedPosterior):
        claims(posterior, [1e11, 1e12])


@pytest.mark.parametrize(("compute", "params"), [(0, None), (-1, None), (float("nan"), None), (1e11, 0)])
def test_questions_without_sense_are_refused(make, byte_models, compute, params):
    with pytest.raises(InputError, match="must be a positive number"):
        optimum(make([byte_models]), compute, params)


@pytest.mark.parametrize("params", [None, 1e5])
def test_a_budget_of_time_leaves_a_slower_sparsity_fewer_flops(make, byte_models, params):
    posterior = make([byte_models])
    plain = optimum(posterior, 3e11, params)
    same = optimum(posterior, 3e11, params, slowdown=np.ones_like)
    assert np.array_equal(same.loss_profile_nats, plain.loss_profile_nats)
    assert same.estimate_identity != plain.estimate_identity

    def twice(sparsity):
        return np.where(sparsity > 0, 2.0, 1.0)

    slow, half = optimum(posterior, 3e11, params, slowdown=twice), optimum(posterior, 1.5e11, params)
    assert slow.loss_profile_nats[0, 0] == plain.loss_profile_nats[0, 0]
    assert np.allclose(slow.loss_profile_nats[0, 1:], half.loss_profile_nats[0, 1:], rtol=1e-12)
    counts = Family().counts_at(width_of(slow.params_star, slow.sparsity_star, Family()), slow.sparsity_star)
    spent = slow.tokens_star * counts.flops_per_token
    assert np.allclose(spent, 3e11 / twice(slow.sparsity_star), rtol=1e-6)

    hopeless = optimum(posterior, 3e11, params, slowdown=lambda s: np.where(s > 0, 50.0, 1.0))
    assert hopeless.sparsity_star[0] == 0 and hopeless.edge["sparsity_low"] == 1


def test_width_of_inverts_the_count():
    family = Family()
    width, sparsity = np.array([8.0, 33.3, 200.0]), np.array([0.0, 0.5, 0.97])
    assert width_of(family.counts_at(width, sparsity).params, sparsity, family) == pytest.approx(width)


def test_lowest_is_exact_on_parabolas_and_honest_at_edges():
    x = np.linspace(0, 3, 31)
    centre = np.array([[0.73], [1.5], [2.21]])
    found = lowest(x, (x - centre) ** 2 + 4)
    assert found.at == pytest.approx(centre[:, 0]) and found.value == pytest.approx(4)
    assert not found.low.any() and not found.high.any()
    edges = lowest(x, np.stack([x, -x]))
    assert edges.at == pytest.approx([0, 3]) and edges.low.tolist() == [True, False]
    assert edges.high.tolist() == [False, True]


def test_claims_on_laws_where_they_are_known(make, byte_models):
    """Laws whose answers follow by hand: probabilities are shares of draws."""
    helps = dict(byte_models, d=1e-9)  # sparsity costs nothing: the loss falls with it
    hurts = dict(byte_models, c=1e-9, delta=1.5)  # and here it gains nothing and costs much
    posterior = make([helps, helps, helps, hurts], sparsities=(0.0, 0.5, 0.75, 0.9))
    held = {claim.name: claim for claim in claims(posterior, [1e11, 1e12])}
    assert set(held) == {f"H{i}" for i in range(1, 8)}
    assert held["H1"].probability == 0.75
    assert held["H1"].mcse == pytest.approx(np.sqrt(0.75 * 0.25 / 8)), "eight draws"
    assert held["H5"].probability == 0.0
    # The best dense size rises with compute in every draw. Where sparsity hurts, the best sparse size is the
    # smallest fitted one at both budgets: censored, and no rise.
    assert held["H3"].detail["S = 0"] == 1.0
    assert held["H3"].probability == 0.75 and held["H3"].edge > 0


def test_best_sparsity_rises_with_size_where_the_law_says_so(make, byte_models):
    """gamma > 0: the cost of sparsity shrinks as N grows, so that S* rises with N at fixed C."""
    posterior = make([byte_models], sparsities=(0.0, 0.5, 0.9, 0.98))
    held = {claim.name: claim for claim in claims(posterior, [1e11, 1e12])}
    small = optimum(posterior, 1e12, params=2e4).sparsity_star[0]
    large = optimum(posterior, 1e12, params=2e5).sparsity_star[0]
    assert small < large
    assert held["H4"].detail["C = 1e+12: S* rises with N"] == 1.0


def test_claims_need_two_budgets(make, byte_models):
    with pytest.raises(InputError, match="at least two different"):
        claims(make([byte_models]), [1e11, 1e11])


def test_time(make, byte_models):
    """A thousand draws on the whole grid in a few seconds."""
    import time

    posterior = make([byte_models] * 500)
    start = time.process_time()
    optimum(posterior, 3e11)
    assert time.process_time() - start < 6
