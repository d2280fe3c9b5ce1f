"""Leave-one-out against an exact answer; the truth wins; weights sum to one; doubt is said."""

import numpy as np
import pytest
from scipy import stats

from moebook import bayes
from moebook.bayes import comparison
from moebook.bayes.comparison import compare, leave_groups_out, leave_one_out
from moebook.errors import InputError


def normal_mean(y, sigma=1.0, draws=20_000, seed=0):
    """(likelihoods [chains, draws, rows] of draws of the mean of y under a flat prior, of exact answers)."""
    rng = np.random.default_rng(seed)
    mean = y.mean() + sigma / np.sqrt(len(y)) * rng.standard_normal((4, draws // 4))
    return stats.norm.logpdf(y, mean[..., None], sigma)


def together(likelihood, groups):
    """Log densities of groups of independent rows [draws, groups]."""
    draws = likelihood.reshape(-1, likelihood.shape[2])
    return np.stack([draws[:, group].sum(axis=1) for group in groups], axis=1)


def exact_density(y, left_out, sigma=1.0):
    """log p(left out | the others) for the same model, jointly for a group."""
    others = np.delete(y, left_out)
    spread = sigma**2 * (np.eye(len(left_out)) + 1 / len(others))
    return stats.multivariate_normal.logpdf(y[left_out], np.full(len(left_out), others.mean()), spread)


def test_leave_one_out_is_the_exact_one_where_that_is_known():
    y = np.random.default_rng(4).standard_normal(30)
    found = leave_one_out(normal_mean(y))
    exact = np.array([exact_density(y, [i]) for i in range(len(y))])
    assert found.pointwise == pytest.approx(exact, abs=0.01)
    assert found.elpd == pytest.approx(exact.sum(), abs=0.05)
    assert found.error == pytest.approx(np.sqrt(len(y)) * exact.std(), rel=0.02)
    assert found.effective == pytest.approx(1.0, abs=0.3) and len(found.doubtful) == 0


def test_leaving_a_group_out_is_the_exact_one_where_that_is_known():
    y = np.random.default_rng(5).standard_normal(40)
    groups = np.arange(40).reshape(4, 10)
    folds = leave_groups_out(together(normal_mean(y), groups))
    assert [fold.elpd for fold in folds] == pytest.approx([exact_density(y, g) for g in groups], abs=0.1)
    assert all(fold.trusted for fold in folds)


def test_weights_that_cannot_stand_in_for_a_fit_are_not_trusted():
    y = np.random.default_rng(6).standard_normal(40)
    y[:10] += 8
    outlier = leave_one_out(normal_mean(np.append(y[10:], 15.0)))
    assert outlier.doubtful.tolist() == [30]
    folds = leave_groups_out(together(normal_mean(y), [np.arange(10), np.arange(10, 40)]))
    assert not folds[0].trusted and not folds[1].trusted


def test_misfit_is_integrated_out_exactly(made):
    """Against the conditional of the dense covariance, for rows and for a whole budget."""
    posterior = made.made_posterior(made.made_runs(), misfit=0.03, spread=0.01, draws=5)
    budget, every = np.arange(7, 14), np.arange(28)
    phi = posterior.basis(posterior.rows["params"], posterior.rows["tokens"])
    covariance = made.NOISE**2 * np.eye(28) + 0.03**2 * phi @ phi.T
    predicted = np.log(
        posterior.predict(posterior.rows["params"], posterior.rows["tokens"], discrepancy=False)
    )
    residual = np.log(posterior.rows["loss_nats"]) - predicted

    def dense(draw, group):
        rest = np.setdiff1d(every, group)
        carry = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[np.ix_(rest, group)]).T
        spread = covariance[np.ix_(group, group)] - carry @ covariance[np.ix_(rest, group)]
        return stats.multivariate_normal.logpdf(residual[draw, group], carry @ residual[draw, rest], spread)

    rows = comparison.row_density(posterior).reshape(10, 28)
    groups = comparison.group_density(posterior, [budget, np.array([3])])
    for draw in (0, 9):
        assert rows[draw] == pytest.approx([dense(draw, [i]) for i in every])
        assert groups[draw] == pytest.approx([dense(draw, budget), dense(draw, [3])])


def test_noise_with_heavy_tails_has_its_own_density(made):
    posterior = made.made_posterior(made.made_runs(), tail=0.25, draws=5)
    predicted = posterior.predict(posterior.rows["params"], posterior.rows["tokens"])
    by_hand = stats.t.logpdf(np.log(posterior.rows["loss_nats"] / predicted), 4, scale=made.NOISE)
    assert comparison.row_density(posterior).reshape(by_hand.shape) == pytest.approx(by_hand)
    together = comparison.group_density(posterior, [np.array([1, 2, 5])])
    assert together[:, 0] == pytest.approx(by_hand[:, [1, 2, 5]].sum(axis=1))


def test_a_plainly_wrong_posterior_loses(made):
    runs = made.made_runs()
    right, wrong = made.made_posterior(runs, spread=0.002), made.made_posterior(runs, E=1.9)
    found = compare({"wrong": wrong, "right": right})
    assert list(found.loo) == ["right", "wrong"]
    assert found.difference["right"] == 0 and found.difference_error["right"] == 0
    assert found.difference["wrong"] < -4 * found.difference_error["wrong"] < 0
    assert found.weights["right"] > 0.95
    assert sum(found.weights.values()) == pytest.approx(1)
    by_hand = found.loo["wrong"].pointwise - found.loo["right"].pointwise
    assert found.difference["wrong"] == pytest.approx(by_hand.sum())
    assert found.difference_error["wrong"] == pytest.approx(np.sqrt(len(by_hand)) * by_hand.std())


def test_the_truth_is_preferred_in_most_simulated_tables(made):
    wins = 0
    for seed in range(8):
        runs = made.made_runs(seed=seed)
        models = {
            "truth": made.made_posterior(runs, draws=50),
            "no floor": made.made_posterior(runs, draws=50, E=1.75, A=520.0),
            "loud": made.made_posterior(runs, draws=50, noise=0.02),
        }
        weights = compare(models).weights
        assert sum(weights.values()) == pytest.approx(1) and min(weights.values()) >= 0
        wins += max(weights, key=weights.__getitem__) == "truth"
    assert wins >= 7


def test_half_of_the_rows_from_each_of_two_laws_share_the_weight(made):
    one, other = made.made_runs(), made.made_runs(E=2.0)
    mixed = one.copy()
    mixed.loc[::2, "loss"] = other.loss[::2]
    weights = compare({"a": made.made_posterior(mixed), "b": made.made_posterior(mixed, E=2.0)}).weights
    assert weights["a"] == pytest.approx(0.5, abs=0.05)


def test_rows_in_another_order_are_the_same_rows_and_others_are_named(made):
    runs = made.made_runs()
    one = made.made_posterior(runs)
    shuffled = made.made_posterior(runs.sample(frac=1, random_state=1).reset_index(drop=True))
    assert compare({"one": one, "shuffled": shuffled}).difference["shuffled"] == pytest.approx(0, abs=1e-9)
    changed = runs.copy()
    changed.loc[4, "loss"] += 1e-6
    with pytest.raises(InputError) as error:
        compare({"one": one, "changed": made.made_posterior(changed)})
    assert "different rows (28 and 28); only one has row 5 (params " in str(error.value)
    with pytest.raises(InputError, match=r"different rows \(28 and 27\); only one has row 28 "):
        compare({"one": one, "fewer": made.made_posterior(runs.iloc[:-1])})
    with pytest.raises(InputError, match="at least two"):
        compare({"one": one})


def test_rows_meet_across_laws_with_different_columns(made, pytestconfig):
    """Runs that one law tells apart by sparsity and the other does not are still matched one to one."""
    sparse = bayes.Posterior.load(pytestconfig.rootpath / "runs" / "posteriors" / "english")
    rows = sparse.rows
    table = made.pd.DataFrame({name: rows[name] for name in ("params", "tokens")}).assign(
        loss=rows["loss_nats"]
    )
    plain = made.made_posterior(table.sample(frac=1, random_state=2), E=1.0, A=30.0, B=60.0)
    orders = comparison.align({"sparse": sparse, "plain": plain})
    for name in ("params", "tokens", "loss_nats"):
        assert np.array_equal(sparse.rows[name][orders["sparse"]], plain.rows[name][orders["plain"]])
    assert compare({"sparse": sparse, "plain": plain}).weights["sparse"] > 0.9


def test_budgets_are_left_out_where_their_compute_is_known(made):
    runs = made.made_runs()
    found = compare({"a": made.made_posterior(runs, spread=0.002), "b": made.made_posterior(runs, E=1.9)})
    assert found.budget_flops == pytest.approx([1e18, 1e19, 1e20, 1e21])
    assert found.budget_rows == [7, 7, 7, 7] and len(found.budgets["a"]) == 4
    assert all(a.elpd > b.elpd for a, b in zip(found.budgets["a"], found.budgets["b"], strict=True))
    posterior = made.made_posterior(runs)
    del posterior.data.constant_data["compute_flops"]
    without = compare({"a": posterior, "b": posterior})
    assert without.budgets == {"a": [], "b": []} and without.budget_flops == []


def test_a_failed_posterior_is_not_compared(made):
    one = made.made_posterior(made.made_runs())
    failed = bayes.Posterior(one.data, {**one.summary, "status": "failed"})
    with pytest.raises(bayes.FailedPosterior):
        compare({"one": one, "failed": failed})
