"""Scores of a mixture against numerical integration; the mixture of a posterior against its own draws."""

import numpy as np
import pytest
from scipy import integrate, stats

from moebook import bayes
from moebook.bayes.mixture import Mixture, inflation_of, mixture, pooled

AT = {"params": np.array([1e8, 8e9]), "tokens": np.array([1e10, 3e11])}
#: (means, deviations, tails): wide and narrow, far apart, one draw far off, heavy tails, one component.
CASES = {
    "even": ([0.0, 0.1, 0.3], [0.1, 0.2, 0.05], 0.0),
    "narrow": ([0.0, 0.5, 0.9], [0.002, 0.01, 0.004], 0.0),
    "one far": ([0.0, 0.01, -0.01, 6.0], [0.02, 0.03, 0.02, 0.02], 0.0),
    "heavy": ([0.0, 0.1, 0.3], [0.1, 0.2, 0.05], 0.3),
    "mixed": ([0.0, 0.1], [0.1, 0.2], np.array([0.0, 0.5])),
    "alone": ([1.0], [0.01], 0.0),
}


def made_mixture(name):
    mean, sd, tail = (np.array(part, dtype=float) for part in CASES[name])
    weight = np.arange(1.0, len(mean) + 1)
    return Mixture(mean[:, None], sd[:, None], weight / weight.sum(), np.atleast_1d(tail))


def density(mixed, x):
    kinds = [stats.t(1 / tail) if tail else stats.norm for tail in mixed.tail]
    parts = zip(kinds, mixed.mean[:, 0], mixed.sd[:, 0], mixed.weight, strict=True)
    return sum(w * kind.pdf((x - m) / s) / s for kind, m, s, w in parts)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("y", [-0.4, 0.003, 0.2, 1.1])
def test_scores_against_numerical_integration(name, y):
    mixed = made_mixture(name)
    breaks = np.unique([y, *np.ravel([mixed.mean + k * mixed.sd for k in (-6, -3, -1, 0, 1, 3, 6)])])
    ends = [-np.inf, *breaks, np.inf]

    def below(x):
        parts = zip(mixed.tail, mixed.mean[:, 0], mixed.sd[:, 0], mixed.weight, strict=True)
        return sum(w * (stats.t(1 / t) if t else stats.norm).cdf((x - m) / s) for t, m, s, w in parts)

    if not mixed.tail.any():
        by_hand = sum(
            integrate.quad(lambda x: (below(x) - (x >= y)) ** 2, a, b, epsabs=1e-12, limit=200)[0]
            for a, b in zip(ends, ends[1:], strict=False)
        )
        assert mixed.crps(np.array([y])) == pytest.approx(by_hand, rel=1e-7)
    assert mixed.cdf(np.array([y])) == pytest.approx(below(y), abs=1e-12)
    assert np.exp(mixed.log_density(np.array([y]))) == pytest.approx(density(mixed, y), rel=1e-9)
    whole = sum(
        integrate.quad(lambda x: density(mixed, x), a, b)[0] for a, b in zip(ends, ends[1:], strict=False)
    )
    assert whole == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_quantiles_are_the_inverse_of_the_distribution(name):
    mixed = made_mixture(name)
    for level in (0.001, 0.05, 0.5, 0.75, 0.999):
        assert mixed.cdf(mixed.quantile(level)[0]) == pytest.approx(level, abs=1e-8)
    low, high = mixed.interval(0.8)
    assert mixed.cdf(high) - mixed.cdf(low) == pytest.approx(0.8, abs=1e-8)


def test_the_score_of_many_t_against_draws_and_integration():
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(1, 0.03, (100, 1)), rng.lognormal(-4, 0.5, (100, 1))
    mixed = Mixture(mean, sd, rng.dirichlet(np.ones(100)), rng.uniform(0.02, 0.5, 100))
    kinds = stats.t(1 / mixed.tail[:, None], mean, sd)
    for y in (1.01, 1.3):
        x = np.concatenate([y - np.geomspace(100, 1e-7, 4000), y + np.geomspace(1e-7, 100, 4000)])
        below = np.concatenate([mixed.weight @ kinds.cdf(part) for part in np.split(x, 20)])
        by_hand = integrate.trapezoid((below - (x >= y)) ** 2, x)
        assert mixed.crps(np.array([y])) == pytest.approx(by_hand, rel=1e-3)


def test_single_values_have_quantiles_and_no_density():
    steps = Mixture(np.array([[0.0], [1.0], [2.0], [3.0]]), np.zeros((4, 1)), np.full(4, 0.25))
    assert steps.cdf(np.array([1.5])) == pytest.approx(0.5)
    assert steps.quantile(0.6)[0] == pytest.approx(2.0, abs=1e-8)
    with pytest.raises(ValueError, match="no density"):
        steps.log_density(np.array([0.5]))


def test_points_are_worked_on_in_blocks_with_one_result(monkeypatch):
    rng = np.random.default_rng(1)
    mixed = Mixture(rng.normal(size=(50, 9)), rng.uniform(0.1, 1, (50, 9)), np.full(50, 0.02))
    whole = mixed.quantile([0.1, 0.9])
    monkeypatch.setattr("moebook.bayes.mixture.BLOCK", 120)
    assert mixed.quantile([0.1, 0.9]) == pytest.approx(whole, abs=1e-12)


def test_a_posterior_is_the_normal_regression_that_it_is(made):
    """Given the law and the scales, log loss at new points is a Gaussian process regression."""
    posterior = made.made_posterior(made.made_runs(), misfit=0.03, draws=2)
    rows = {name: posterior.rows[name] for name in ("params", "tokens")}
    phi, new = posterior.basis(*rows.values()), posterior.basis(*AT.values())
    residual = np.log(posterior.rows["loss_nats"] / posterior.predict(**rows, discrepancy=False)[0])
    covariance = 0.03**2 * phi @ phi.T + made.NOISE**2 * np.eye(len(phi))
    carry = np.linalg.solve(covariance, 0.03**2 * phi @ new.T).T
    law = np.log(posterior.predict(**AT, discrepancy=False)[0])
    variance = 0.03**2 * (new**2).sum(axis=1) - np.einsum("ij,ji->i", carry, 0.03**2 * phi @ new.T)
    curve, run = (mixture(posterior, AT, noise=noise) for noise in (False, True))
    for mixed, noise in ((curve, 0.0), (run, made.NOISE)):
        assert mixed.mean[0] == pytest.approx(law + carry @ residual)
        assert mixed.sd[0] == pytest.approx(np.sqrt(variance + noise**2))


def with_draws(posterior, constant=None, **values):
    """The posterior with other stored numbers beside its own."""
    data = posterior.data.copy()
    data.posterior = data.posterior.assign(values)
    data.constant_data = data.constant_data.assign(constant or {})
    return bayes.Posterior(data, posterior.summary)


def test_noise_that_changes_with_compute_weighs_the_rows_by_it(made):
    """Draws of two exponents, against the regression with that noise."""
    plain = made.made_posterior(made.made_runs(), misfit=0.03, draws=2)
    exponents = np.array([[0.2, 0.0], [0.2, -0.1]])
    posterior = with_draws(plain, noise_exponent=(("chain", "draw"), exponents))
    rows = {name: posterior.rows[name] for name in ("params", "tokens")}
    phi, new = posterior.basis(*rows.values()), posterior.basis(*AT.values())
    residual = np.log(posterior.rows["loss_nats"] / posterior.predict(**rows, discrepancy=False)[0])
    compute, centre = posterior.compute_flops, np.exp(np.log(posterior.compute_flops).mean())
    at = 6 * AT["params"] * AT["tokens"]
    mixed = mixture(posterior, AT, compute_flops=at)
    law = np.log(posterior.predict(**AT, discrepancy=False)[0])
    for draw, h in enumerate(exponents.ravel()):
        noise = made.NOISE**2 * np.diag((compute / centre) ** (-2 * h))
        carry = np.linalg.solve(0.03**2 * phi @ phi.T + noise, 0.03**2 * phi @ new.T).T
        variance = 0.03**2 * ((new**2).sum(axis=1) - np.einsum("ij,ji->i", carry, phi @ new.T))
        assert mixed.mean[draw] == pytest.approx(law + carry @ residual)
        of_run = made.NOISE**2 * (at / centre) ** (-2 * h)
        assert mixed.sd[draw] == pytest.approx(np.sqrt(variance + of_run))


def test_a_group_that_was_seen_shifts_and_a_new_one_widens(made):
    plain = made.made_posterior(made.made_runs(), draws=2)
    offsets = np.broadcast_to([0.05, -0.05], (2, 2, 2))
    posterior = with_draws(
        plain,
        {"group_of_row": ("row", np.zeros(28, int)), "group": ["books", "web"]},
        group_offset=(("chain", "draw", "group"), offsets),
        group_scale=(("chain", "draw"), np.full((2, 2), 0.04)),
    )
    # All rows are of the first group, so that the law lies .05 lower than they do.
    known = mixture(posterior, AT, groups=["books", "web"])
    new = mixture(posterior, AT)
    assert known.mean[0] - new.mean[0] == pytest.approx([0.05, -0.05])
    assert new.sd**2 - known.sd**2 == pytest.approx(np.full((4, 2), 0.04**2))
    assert mixture(posterior, AT, groups=["web", "never"]).sd[0, 1] == pytest.approx(new.sd[0, 1])


def inflated(posterior, median, spread):
    priors = {"inflation_median": median, "inflation_spread": spread}
    return bayes.Posterior(posterior.data, {**posterior.summary, "ingredients": {"priors": priors}})


def test_inflation_widens_the_belief_and_not_the_noise(made):
    plain = made.made_posterior(made.made_runs(), misfit=0.03, spread=0.02, draws=300)
    wide = inflated(plain, 1.5, 1e-9)
    a, b = mixture(plain, AT, noise=False), mixture(wide, AT, noise=False)
    assert b.average() == pytest.approx(a.average())
    assert b.mean - a.average() == pytest.approx(1.5 * (a.mean - a.average()))
    assert b.sd == pytest.approx(1.5 * a.sd)
    noisy = mixture(wide, AT)
    assert noisy.sd**2 - b.sd**2 == pytest.approx(np.full(b.sd.shape, made.NOISE**2))
    for other in (mixture(plain, AT, noise=False), mixture(wide, AT, inflation=False, noise=False)):
        assert np.array_equal(other.mean, a.mean) and np.array_equal(other.sd, a.sd)


def test_inflation_has_the_distribution_that_was_learnt(made):
    posterior = inflated(made.made_posterior(made.made_runs(), draws=500), 1.2, 0.25)
    logs = np.log(inflation_of(posterior, seed=3))
    assert logs.mean() == pytest.approx(np.log(1.2)) and logs.std() == pytest.approx(0.25, rel=0.01)
    assert stats.kstest(logs, stats.norm(np.log(1.2), 0.25).cdf).statistic < 0.001
    assert not np.array_equal(logs, np.log(inflation_of(posterior, seed=4)))
    assert inflation_of(made.made_posterior(made.made_runs(), draws=5)).tolist() == [1.0] * 10


def test_heavy_noise_is_a_mixture_of_t(made):
    posterior = made.made_posterior(made.made_runs(), tail=0.25, draws=3)
    law = np.log(posterior.predict(**AT)[0])
    y = law + np.array([0.03, -0.05])
    by_hand = stats.t(4, law, made.NOISE)
    mixed = mixture(posterior, AT)
    assert mixed.log_density(y) == pytest.approx(by_hand.logpdf(y))
    assert mixed.pit(y) == pytest.approx(by_hand.cdf(y))
    assert mixture(posterior, AT, noise=False).quantile(0.5)[0] == pytest.approx(law)


def test_a_pool_is_the_weighted_sum():
    parts = [made_mixture("even"), made_mixture("heavy")]
    both = pooled(parts, [0.3, 0.7])
    y = np.array([0.15])
    for name in ("cdf", "pit"):
        one, other = (getattr(part, name)(y) for part in parts)
        assert getattr(both, name)(y) == pytest.approx(0.3 * one + 0.7 * other)
    with pytest.raises(ValueError, match="sum to one"):
        pooled(parts, [0.5, 0.7])


def test_scores_of_a_forecaster_that_is_right_are_what_they_should_be():
    """Values drawn from the forecasts: uniform PIT, stated coverage, and none scores better."""
    rng = np.random.default_rng(5)
    n = 4000
    mean, sd = rng.normal(0, 0.1, (2, n)), rng.uniform(0.02, 0.1, (2, n))
    right = Mixture(mean, sd, np.array([0.3, 0.7]))
    which = (rng.random(n) > 0.3).astype(int)
    y = mean[which, np.arange(n)] + sd[which, np.arange(n)] * rng.standard_normal(n)
    assert stats.kstest(right.pit(y), "uniform").pvalue > 0.01
    for level in (0.5, 0.9):
        low, high = right.interval(level)
        assert np.mean((low < y) & (y < high)) == pytest.approx(level, abs=0.025)
    for wrong in (Mixture(mean + 0.03, sd, right.weight), Mixture(mean, 2 * sd, right.weight)):
        assert right.crps(y).mean() < wrong.crps(y).mean()
        assert right.log_density(y).mean() > wrong.log_density(y).mean()
