"""Gates catch planted faults; identity turns on each ingredient; the basis is the kernel it claims."""

import dataclasses

import numpy as np
import pytest

from moebook import bayes, laws
from moebook.bayes import checks, gates
from moebook.bayes import identity as naming
from moebook.bayes.discrepancy import fitted_basis, frequencies
from moebook.errors import InputError


def good_chains(seed=0, chains=4, draws=1000):
    rng = np.random.default_rng(seed)
    quiet = np.zeros((chains, draws), bool)
    return {"beta": rng.standard_normal((chains, draws))}, quiet, rng.standard_normal((chains, draws))


def failed(judged):
    return {gate.name for gate in judged if not gate.passed}


def test_good_chains_pass():
    draws, diverging, energy = good_chains()
    assert failed(gates.judge(draws, {}, diverging, energy)) == set()


def test_a_chain_elsewhere_is_caught():
    draws, diverging, energy = good_chains()
    draws["beta"][2] += 1.0
    judged = gates.judge(draws, {}, diverging, energy)
    assert {"R-hat", "bulk effective sample"} <= failed(judged)
    assert judged[0].worst == "beta"


def test_a_chain_elsewhere_in_the_misfit_is_caught():
    draws, diverging, energy = good_chains()
    weights = good_chains(1)[0]["beta"]
    weights[0] -= 2.0
    assert failed(gates.judge(draws, {"weight": weights}, diverging, energy)) == {"R-hat"}


def test_a_stuck_chain_is_caught_though_its_variance_is_zero():
    draws, diverging, energy = good_chains()
    draws["beta"][:] = 1.0
    draws["beta"][1] = 2.0
    assert "R-hat" in failed(gates.judge(draws, {}, diverging, energy))


def test_slow_chains_are_caught():
    draws, diverging, energy = good_chains()
    draws["beta"] = np.cumsum(draws["beta"], axis=1) / 10
    assert "bulk effective sample" in failed(gates.judge(draws, {}, diverging, energy))


def test_one_divergence_is_caught():
    draws, diverging, energy = good_chains()
    diverging[3, 7] = True
    assert failed(gates.judge(draws, {}, diverging, energy)) == {"divergences"}


def test_energy_that_wanders_is_caught():
    draws, diverging, energy = good_chains()
    energy[1] = np.cumsum(energy[1])
    judged = gates.judge(draws, {}, diverging, energy)
    assert failed(judged) == {"E-FMI"}
    assert next(gate for gate in judged if gate.name == "E-FMI").worst == "chain 2"


def test_require_passed_names_what_failed():
    draws, diverging, energy = good_chains()
    diverging[0, 0] = True
    judged = [dataclasses.asdict(gate) for gate in gates.judge(draws, {}, diverging, energy)]
    with pytest.raises(bayes.FailedPosterior, match="divergences 1.0"):
        bayes.require_passed({"status": "failed", "gates": judged, "identity": "ab" * 32})
    with pytest.raises(bayes.FailedPosterior, match="divergences 1.0"):
        bayes.require_passed({"status": "passed", "gates": judged, "identity": "ab" * 32})
    with pytest.raises(bayes.FailedPosterior, match="no gates on record"):
        bayes.require_passed({})


def test_coverage_and_contraction_count():
    draws = np.random.default_rng(0).standard_normal((4000, 1000))
    observed = np.random.default_rng(1).standard_normal(1000)
    assert checks.coverage(draws, observed)["90"] == pytest.approx(0.9, abs=0.03)
    assert checks.coverage(draws, observed + 5)["90"] < 0.01
    assert checks.contraction(draws[0] * 4, draws[1]) == pytest.approx(0.75, abs=0.03)


def test_a_trend_that_the_model_misses_has_an_extreme_p_value():
    rng = np.random.default_rng(4)
    x = np.linspace(0, 1, 200)
    mean = np.zeros((500, 200)) + 0.001 * rng.standard_normal((500, 1))
    replicated = mean + 0.01 * rng.standard_normal((500, 200))
    fine = checks.posterior_predictive(mean, replicated, np.exp(0.01 * rng.standard_normal(200)), {"x": x})
    bent = np.exp(0.01 * rng.standard_normal(200) + 0.2 * (x - 0.5) ** 2)
    missed = checks.posterior_predictive(mean, replicated, bent, {"x": x})
    assert 0.01 < fine["p_values"]["bend along x"] < 0.99
    assert missed["p_values"]["bend along x"] < 0.01


def parts(**changes):
    base = {
        "data_sha256": "00" * 32, "law": laws.get("abnar"), "priors": bayes.Priors(),
        "sampler": bayes.Sampler(), "seed": 0,
    }  # fmt: skip
    return naming.ingredients(**{**base, **changes})


def test_identity_turns_on_each_ingredient(monkeypatch):
    seen = [
        naming.identity(parts()),
        naming.identity(parts(data_sha256="01" * 32)),
        naming.identity(parts(law=laws.get("chinchilla"))),
        naming.identity(parts(priors=bayes.Priors(tilt_spread=0.31))),
        naming.identity(parts(sampler=bayes.Sampler(tune=1001))),
        naming.identity(parts(seed=1)),
    ]
    monkeypatch.setattr(naming, "lock_of", lambda start: {"requirements.lock": "02" * 32})
    seen.append(naming.identity(parts()))
    monkeypatch.setattr(naming, "_law_source", lambda law: "def loss(): another source")
    seen.append(naming.identity(parts()))
    assert len(set(seen)) == len(seen)


def test_identity_is_the_same_again():
    assert naming.identity(parts()) == naming.identity(parts())


def test_the_lock_counts_by_content(tmp_path):
    inner = tmp_path / "src" / "bayes"
    inner.mkdir(parents=True)
    (tmp_path / "requirements.lock").write_text("numpy==2.0\n")
    first = naming.lock_of(inner)
    (tmp_path / "requirements.lock").write_text("numpy==2.1\n")
    assert naming.lock_of(inner) != first


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), {3: "x"}, float("inf"), b"x"])
def test_what_has_no_one_spelling_is_refused(value):
    with pytest.raises(InputError, match="cannot be hashed"):
        naming.identity({"seed": value})


def test_a_law_without_a_file_is_refused():
    namespace = {}
    exec("def loss(k, n, d):\n    return n", namespace)
    law = dataclasses.replace(laws.get("chinchilla"), function=namespace["loss"])
    with pytest.raises(InputError, match="source"):
        parts(law=law)


@pytest.mark.parametrize("field", ["level_spread", "noise_median", "pairs"])
def test_priors_that_make_no_sense_are_refused(field):
    with pytest.raises(InputError, match=field):
        bayes.Priors(**{field: -1})


def test_the_frequencies_are_those_of_a_matern_kernel():
    """Mean cosine over many frequencies against Matern-5/2 averaged over its length scale, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    lengths = 1.5 * np.exp(0.5 * nodes)
    step = 1.4 * np.random.default_rng(0).standard_normal((300, 3))
    r = np.sqrt(5) * np.linalg.norm(step, axis=1)[:, None] / lengths
    kernel = ((1 + r + r**2 / 3) * np.exp(-r)) @ weights / weights.sum()
    error = {n: np.cos(step @ frequencies(n, 3, 1.5, 0.5).T).mean(axis=1) - kernel for n in (32, 4096)}
    assert np.abs(error[4096]).max() < 0.02
    assert np.abs(error[32].mean()) < 0.03, "the few that are used lean to no side"
    assert error[32].std() < 0.1


def test_the_basis_has_variance_one_everywhere():
    rng = np.random.default_rng(0)
    values = [np.exp(rng.standard_normal(40)), np.exp(rng.standard_normal(40)), rng.random(40)]
    basis = fitted_basis(("params", "tokens", "sparsity"), values, 32, length=1.5, length_spread=0.5)
    for points in (values, [1e9 * values[0], values[1], values[2] / 2]):
        assert np.linalg.norm(basis(*points), axis=1) == pytest.approx(np.ones(40))


def test_the_basis_is_orthogonal_over_the_rows_and_knows_no_units():
    rng = np.random.default_rng(1)
    values = [np.exp(rng.standard_normal(100)), np.exp(rng.standard_normal(100))]
    names = ("params", "tokens")
    phi = fitted_basis(names, values, 32, 1.5, 0.5)(*values)
    gram = phi.T @ phi
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-10
    assert np.all(np.diff(np.diag(gram)) <= 1e-10), "longest first"
    scaled = [1e6 * values[0], 3.0 * values[1]]
    assert np.abs(fitted_basis(names, scaled, 32, 1.5, 0.5)(*scaled)) == pytest.approx(np.abs(phi), abs=1e-6)


def test_frequencies_depend_on_no_seed():
    np.random.seed(1)
    first = frequencies(16, 3, 1.5, 0.5)
    np.random.seed(2)
    assert np.array_equal(first, frequencies(16, 3, 1.5, 0.5))


def test_a_column_that_does_not_vary_has_no_pattern():
    rng = np.random.default_rng(4)
    mean, noise = np.zeros((50, 20)), 0.01 * rng.standard_normal((50, 20))
    axes = {"one": np.ones(20), "two": np.repeat([0.0, 1.0], 10), "many": np.arange(20.0)}
    found = checks.posterior_predictive(mean, noise, np.exp(0.01 * rng.standard_normal(20)), axes)["p_values"]
    assert {"trend along two", "trend along many", "bend along many"} <= set(found)
    assert not {"trend along one", "bend along one", "bend along two"} & set(found)
