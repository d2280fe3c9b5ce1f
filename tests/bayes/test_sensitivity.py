"""Power-scaling: the priors it scales are the model's, and it sees a planted prior."""

import numpy as np
import pytest
from scipy import stats

from moebook import bayes
from moebook.bayes.sensitivity import log_likelihood, sensitivity, standard_coordinates


@pytest.mark.slow
@pytest.mark.parametrize("which", ["abnar_posterior", "chinchilla_posterior"])
def test_priors_are_standard_normal_and_independent_in_the_coordinates_that_are_scaled(which, request):
    posterior = request.getfixturevalue(which)
    coordinates = standard_coordinates(posterior, "prior")
    assert set(posterior.law.totals) < set(coordinates)
    for name, z in coordinates.items():
        assert stats.kstest(z, "norm").pvalue > 1e-3, name
    together = np.corrcoef(np.array(list(coordinates.values())))
    assert np.abs(together - np.eye(len(together))).max() < 0.1


@pytest.mark.slow
def test_what_only_the_prior_tells_is_told_from_what_the_data_tell(abnar_posterior):
    found = sensitivity(
        abnar_posterior, {name: abnar_posterior.draws(name) for name in abnar_posterior.law.totals}
    )
    by_prior = {name: values["prior"] / values["likelihood"] for name, values in found.items()}
    assert by_prior["floor_tilt_share"] > 3 * max(by_prior["level"], by_prior["beta"])
    assert found["beta"]["likelihood"] > 0.05


@pytest.mark.slow
def test_a_prior_that_contradicts_the_data_is_seen(chinchilla_runs):
    """Exponents of .1 +- 10 % said beforehand of runs that fall with .35."""
    columns = {"params": "N", "tokens": "D", "loss": "loss"}
    settings = {"columns": columns, "draws": 700, "tune": 500, "progress": False}
    wrong = bayes.Priors(exponent_median=0.1, exponent_spread=0.1, discrepancy_spread=0.05)
    stubborn = bayes.fit(chinchilla_runs, "chinchilla", priors=wrong, **settings)
    found = sensitivity(stubborn, {"alpha": stubborn.draws("alpha")})["alpha"]
    assert found["prior"] > 0.1 and found["likelihood"] > 0.1
    assert found["diagnosis"] == "both matter"


def test_what_does_not_vary_depends_on_nothing(made):
    posterior = made.made_posterior(made.made_runs(), spread=0.02)
    posterior.summary["ingredients"] = {"priors": {}}
    found = sensitivity(posterior, {"one": np.ones(1000)})
    assert found == {"one": {"prior": 0.0, "likelihood": 0.0, "diagnosis": "neither matters"}}


def test_the_likelihood_is_the_rows_joint_density(made):
    """Of a posterior without misfit: independent normals."""
    posterior = made.made_posterior(made.made_runs(), spread=0.01)
    plain = stats.norm.logpdf(posterior.residual(misfit=False), scale=made.NOISE).sum(axis=1)
    assert log_likelihood(posterior) == pytest.approx(plain, abs=1e-4)


def test_heavy_tails_have_no_such_likelihood(made):
    posterior = made.made_posterior(made.made_runs(), tail=0.2)
    with pytest.raises(NotImplementedError, match="not integrated out"):
        log_likelihood(posterior)


def test_a_summary_says_what_its_quantities_are_sensitive_to(abnar_posterior):
    stored = abnar_posterior.summary["sensitivity"]
    assert set(stored) == {*abnar_posterior.law.totals, "discrepancy_scale", "noise_scale"}
    names = ("level", "gamma")
    anew = sensitivity(abnar_posterior, {name: abnar_posterior.draws(name) for name in names})
    for name in names:
        assert stored[name]["diagnosis"] == anew[name]["diagnosis"]
        assert stored[name]["prior"] == pytest.approx(anew[name]["prior"], abs=0.01)
    assert stored["level"]["prior"] < stored["gamma"]["prior"]
