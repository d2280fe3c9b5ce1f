"""Known coefficients are recovered; draws are functions; files keep them whole."""

import json

import numpy as np
import pytest

from moebook import bayes, laws
from moebook.errors import InputError


def inside(estimate, truth):
    """Within an interval of about 99 %: the 90 % interval, widened by 1.6 about its median."""
    middle, low, high = (estimate[q] for q in ("q50", "q05", "q95"))
    return middle - 1.6 * (middle - low) <= truth <= middle + 1.6 * (high - middle)


def test_chinchilla_is_recovered(chinchilla_posterior, noise):
    truth = laws.get("chinchilla").published
    estimates = chinchilla_posterior.summary["estimates"]
    for name in ("E", "alpha", "beta"):
        assert inside(estimates[name], truth[name]), (name, estimates[name])
        assert estimates[name]["identified"], name
        assert estimates[name]["q95"] - estimates[name]["q05"] < 0.4 * truth[name], "says little"
    assert inside(estimates["noise_scale"], noise)


@pytest.mark.slow
def test_beta_and_the_floor_of_eq_6_are_recovered(abnar_posterior, abnar_truth):
    assert inside(abnar_posterior.summary["estimates"]["beta"], abnar_truth["beta"])
    draws = abnar_posterior.coefficients()
    low, high = np.quantile(draws["c"] + draws["e"], [0.005, 0.995])
    assert low <= abnar_truth["c"] + abnar_truth["e"] <= high


@pytest.mark.slow
def test_what_the_prior_decides_is_called_not_identified(abnar_posterior):
    estimates = abnar_posterior.summary["estimates"]
    assert estimates["level"]["identified"] and estimates["beta"]["identified"]
    assert not estimates["floor_tilt_share"]["identified"]
    assert estimates["floor_tilt_share"]["contraction"] < 0.3


def test_a_good_fit_passes_its_gates(chinchilla_posterior):
    assert chinchilla_posterior.passed, chinchilla_posterior.summary["gates"]
    bayes.require_passed(chinchilla_posterior.summary)


@pytest.mark.slow
def test_a_good_fit_of_eq_6_passes_its_gates(abnar_posterior):
    assert abnar_posterior.passed, abnar_posterior.summary["gates"]


@pytest.mark.slow
def test_the_noiseless_truth_between_the_runs_is_covered(abnar_posterior, abnar_truth):
    rng = np.random.default_rng(8)
    rows = abnar_posterior.rows
    pick = rng.integers(len(rows["params"]), size=200)
    point = rows["params"][pick] * 1.1, rows["tokens"][pick] * 0.9, rng.choice([0.3, 0.6, 0.8, 0.9], 200)
    predicted = abnar_posterior.predict(*point)
    truth = laws.get("abnar")(abnar_truth, *point)
    low, high = np.quantile(predicted, [0.05, 0.95], axis=0)
    assert np.mean((low <= truth) & (truth <= high)) > 0.7
    assert np.median((high - low) / truth) < 0.03, "an interval that covers by saying nothing"


def test_checks_of_data_that_the_model_made(chinchilla_posterior):
    checks = chinchilla_posterior.summary["checks"]
    assert checks["posterior_predictive"]["coverage"]["90"] == pytest.approx(0.9, abs=0.08)
    # Of rows that were fitted: law and misfit follow them, which takes about a sixth off their distances and
    # adds as much to the intervals, so that 50 % intervals hold about 64 %; a binomial of 49 rows has .07.
    assert checks["posterior_predictive"]["coverage"]["50"] == pytest.approx(0.64, abs=0.14)
    assert all(0.01 < p < 0.99 for p in checks["posterior_predictive"]["p_values"].values())
    assert checks["prior_predictive"]["coverage"]["90"] > 0.9, "a prior that excludes ordinary data"


def test_prediction_is_the_law_times_misfit_and_noise(chinchilla_posterior):
    point = 1e8, 1e10
    plain = chinchilla_posterior.predict(*point, discrepancy=False)
    by_hand = chinchilla_posterior.law(chinchilla_posterior.coefficients(), *point)
    assert plain[:, 0] == pytest.approx(by_hand, rel=1e-6)
    with_misfit = chinchilla_posterior.predict(*point)
    noisy = chinchilla_posterior.predict(*point, noise=True)
    assert np.std(np.log(noisy / with_misfit)) > 0.5 * np.median(chinchilla_posterior.draws("noise_scale"))
    assert not np.allclose(plain, with_misfit, rtol=1e-6)


@pytest.mark.slow
def test_misfit_does_not_vanish_far_from_the_data(abnar_posterior):
    far = 1e9, 1e12, 0.5
    ratio = np.log(abnar_posterior.predict(*far) / abnar_posterior.predict(*far, discrepancy=False))
    scale = np.sqrt(np.mean(abnar_posterior.draws("discrepancy_scale") ** 2))
    grown = np.linalg.norm(abnar_posterior.basis(*(np.array([value]) for value in far)))
    assert grown > 1.2
    assert np.std(ratio) == pytest.approx(scale * grown, rel=0.3)


@pytest.mark.parametrize(
    ("point", "field"),
    [((0, 1e10), "params"), ((1e8, -1), "tokens"), ((1e8, np.nan), "tokens"), ((1e8, None), "tokens")],
)
def test_predict_refuses_points_out_of_range(chinchilla_posterior, point, field):
    with pytest.raises(InputError, match=field):
        chinchilla_posterior.predict(*point)


def test_a_saved_posterior_comes_back_whole(chinchilla_posterior, tmp_path):
    chinchilla_posterior.save(tmp_path / "fit")
    back = bayes.Posterior.load(tmp_path / "fit")
    point = 1e8, [1e9, 1e10, 1e11]
    expected = chinchilla_posterior.predict(*point, noise=True)
    assert np.array_equal(back.predict(*point, noise=True), expected)
    assert back.summary == json.loads(json.dumps(chinchilla_posterior.summary))
    assert back.summary["excluded"] == {"diverged": 2}
    assert sorted(p.name for p in (tmp_path / "fit").iterdir()) == ["posterior.nc", "summary.json"]
    assert (tmp_path / "fit" / "posterior.nc").stat().st_size < 1.5e6
    again = tmp_path / "again"
    back.save(again)
    for name in ("summary.json", "posterior.nc"):
        assert (again / name).read_bytes() == (tmp_path / "fit" / name).read_bytes()


def test_a_broken_file_is_named(chinchilla_posterior, tmp_path):
    chinchilla_posterior.save(tmp_path)
    whole = (tmp_path / "posterior.nc").read_bytes()
    (tmp_path / "posterior.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="posterior.nc: is not the file .* it was cut"):
        bayes.Posterior.load(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="summary.json: is not the summary"):
        bayes.Posterior.load(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        bayes.Posterior.load(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_seed_decides_every_bit_and_the_order_of_rows_none(chinchilla_runs, tmp_path):
    names = {"params": "N", "tokens": "D", "loss": "loss"}

    def short(table, seed):
        return bayes.fit(table, "chinchilla", columns=names, seed=seed, draws=60, tune=120, progress=False)

    first = short(chinchilla_runs, 5)
    second = short(chinchilla_runs.sample(frac=1, random_state=1), 5)
    other = short(chinchilla_runs, 6)
    assert first.identity == second.identity != other.identity
    for name in ("beta", "discrepancy_weights"):
        assert np.array_equal(first.draws(name), second.draws(name)), name
    assert not np.array_equal(first.draws("beta"), other.draws("beta"))
    assert not first.passed, "sixty draws cannot hold four hundred effective ones"
    with pytest.raises(bayes.FailedPosterior, match="effective sample"):
        bayes.require_passed(first.summary)


@pytest.mark.slow
def test_published_runs_of_chinchilla(shared):
    """Besiroglu et al. 2024 on the same points: E 1.82, alpha .35, beta .37."""
    table = shared / "data" / "chinchilla" / "runs.csv"
    names = {"params": "N", "tokens": "D", "loss": "loss"}
    posterior = bayes.fit(table, "chinchilla", columns=names, progress=False)
    estimates = posterior.summary["estimates"]
    assert posterior.passed, posterior.summary["gates"]
    assert 1.5 < estimates["E"]["q50"] < 2.0
    assert 0.25 < estimates["alpha"]["q50"] < 0.5
    assert 0.25 < estimates["beta"]["q50"] < 0.5
    assert estimates["E"]["q95"] > 1.8172 > estimates["E"]["q05"]


def test_draws_of_another_fit_are_not_taken_for_these(chinchilla_posterior, tmp_path):
    chinchilla_posterior.save(tmp_path / "fit")
    file = tmp_path / "fit" / "posterior.nc"
    file.write_bytes(file.read_bytes()[:-1] + b"\0\1")
    with pytest.raises(InputError, match=r"posterior\.nc: is not the file that summary\.json describes"):
        bayes.Posterior.load(tmp_path / "fit")
