"""The posterior of a regression with shared deviations, against textbook cases, a sampler, made-up truths."""

import numpy as np
import pytest
from scipy import stats

from moebook.downstream import regress
from moebook.errors import InputError


def made(rng, rows=60, groups=20, share=0.6, slope=0.5, by_group=False):
    """x [rows, 2], y [rows] and the groups, whose deviations have `share` of the variance 1."""
    group = np.arange(rows) % groups
    at = rng.normal(size=groups)[group] if by_group else rng.normal(size=rows)
    deviation = rng.normal(size=groups)[group] * np.sqrt(share) + rng.normal(size=rows) * np.sqrt(1 - share)
    return np.stack([np.ones(rows), at], axis=1), 2 + slope * at + deviation, group


def test_rows_of_no_group_give_the_textbook_student_t():
    x, y, _ = made(np.random.default_rng(0), share=0.0)
    found = regress(x, y, range(len(y))).coefficient(1)
    b, squares, *_ = np.linalg.lstsq(x, y, rcond=None)
    scale = np.sqrt(squares[0] / (len(y) - 2) * np.linalg.inv(x.T @ x)[1, 1])
    exact = stats.t(len(y) - 2, b[1], scale)
    for share in (0.001, 0.05, 0.5, 0.9, 0.999):
        assert found.quantile(share) == pytest.approx(exact.ppf(share), abs=1e-9)
        assert found.below(exact.ppf(share)) == pytest.approx(share, abs=1e-9)
    assert found.mean == pytest.approx(b[1], abs=1e-12)


def test_a_quantile_inverts_the_distribution_and_a_factor_turns_it_round():
    x, y, group = made(np.random.default_rng(1))
    found = regress(x, y, group).coefficient(1)
    for share in (0.01, 0.3, 0.5, 0.95):
        assert found.below(found.quantile(share)) == pytest.approx(share, abs=1e-9)
        assert found.times(-3).quantile(share) == pytest.approx(-3 * found.quantile(1 - share), abs=1e-9)
    wide = found.widened(1.0)
    assert wide.mean == found.mean and wide.quantile(0.95) > found.quantile(0.95) + 1


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_a_column_does_not_matter(unit):
    x, y, group = made(np.random.default_rng(2))
    plain, scaled = regress(x, y, group), regress(x * [1, unit], y, group)
    assert scaled.coefficient(1).quantile(0.9) * unit == pytest.approx(plain.coefficient(1).quantile(0.9))
    assert scaled.share == pytest.approx(plain.share)


def test_more_nodes_change_nothing(monkeypatch):
    from moebook.downstream import regression

    x, y, group = made(np.random.default_rng(3), rows=200, groups=40, share=0.9)
    few = regress(x, y, group)
    monkeypatch.setattr(regression, "NODES", 400)
    many = regress(x, y, group)
    for share in (0.05, 0.5, 0.95):
        assert few.coefficient(1).quantile(share) == pytest.approx(
            many.coefficient(1).quantile(share), abs=1e-5
        )
    assert few.share == pytest.approx(many.share, abs=1e-5)


@pytest.mark.parametrize("groups, holds", [("known", True), ("ignored", False)])
def test_intervals_hold_what_they_promise_and_not_where_the_groups_are_ignored(groups, holds):
    """A slope that varies between groups alone is the case in which repeated rows mislead."""
    rng, inside, fits = np.random.default_rng(4), 0, 300
    for _ in range(fits):
        x, y, group = made(rng, rows=80, groups=16, share=0.8, by_group=True)
        found = regress(x, y, group if groups == "known" else range(len(y))).coefficient(1)
        inside += found.quantile(0.05) <= 0.5 <= found.quantile(0.95)
    low, high = stats.binom.interval(0.998, fits, 0.9)
    assert (low <= inside <= high) == holds
    assert holds or inside < 0.75 * fits


@pytest.mark.slow
def test_a_sampler_finds_the_same_posterior():
    import nutpie
    import pymc as pm

    x, y, group = made(np.random.default_rng(5), rows=48, groups=16)
    with pm.Model() as model:
        share = pm.Uniform("share", 0, 1)
        log_scale = pm.Flat("log_scale")  # p(s) = 1/s
        b = pm.Flat("b", shape=2)
        scale = pm.math.exp(log_scale)
        deviation = pm.Normal("u", shape=16)
        mean = b[0] + b[1] * x[:, 1] + deviation[group] * scale * pm.math.sqrt(share)
        pm.Normal("y", mean, scale * pm.math.sqrt(1 - share), observed=y)
    drawn = nutpie.sample(
        nutpie.compile_pymc_model(model), chains=4, draws=2500, tune=800, seed=3, progress_bar=False,
        target_accept=0.95,
    )  # fmt: skip
    slope = drawn.posterior["b"].to_numpy()[..., 1].ravel()
    found = regress(x, y, group)
    for share, error in ((0.05, 0.012), (0.5, 0.006), (0.95, 0.012)):
        assert found.coefficient(1).quantile(share) == pytest.approx(np.quantile(slope, share), abs=error)
    assert found.share == pytest.approx(float(drawn.posterior["share"].mean()), abs=0.015)


def test_what_cannot_be_told_is_refused():
    x, y, group = made(np.random.default_rng(6), rows=5, groups=5)
    with pytest.raises(InputError, match="4: too few for 2"):
        regress(x[:4], y[:4], group[:4])
    with pytest.raises(InputError, match="do not vary in enough ways"):
        regress(np.stack([x[:, 0], 3 * x[:, 0]], axis=1), y, group)
