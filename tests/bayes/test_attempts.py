"""Few draws where they are enough, more where a gate fails; what no row sees is left out of the density."""

from dataclasses import replace

import numpy as np
import pytest

from moebook import bayes, laws
from moebook.bayes import fitting, gates
from moebook.bayes.compiled import compiled_model
from moebook.bayes.prepared import Prepared
from moebook.bayes.request import Sampler, request
from moebook.errors import InputError

SHORT = Sampler(chains=2, draws=40, tune=60, prior_draws=20)
COLUMNS = {"params": "N", "tokens": "D", "loss": "loss"}


@pytest.fixture
def attempts(monkeypatch):
    """(tune, draws, target_accept) of each time that chains are sampled, really sampled."""
    seen, sample = [], fitting._sample

    def watched(compiled, chains, *given):
        seen.append(given[:3])
        return sample(compiled, chains, *given)

    monkeypatch.setattr(fitting, "_sample", watched)
    return seen


def test_a_failed_gate_is_answered_by_more_draws_once(chinchilla_runs, attempts, capsys):
    found = bayes.fit(chinchilla_runs, "chinchilla", columns=COLUMNS, sampler=SHORT)
    assert attempts == [(60, 40, 0.95), (120, 160, 0.985)]
    assert found.summary["draws"] == {"chains": 2, "each": 160} and len(found.draws("alpha")) == 2 * 160
    assert not found.passed  # 320 draws are not 400 effective ones: it says so, and stops
    assert "a gate failed: once more" in capsys.readouterr().err
    assert found.summary["ingredients"]["sampler"]["again"] == 4


def test_no_second_attempt_where_none_is_wanted_or_needed(chinchilla_runs, chinchilla_posterior, attempts):
    bayes.fit(chinchilla_runs, "chinchilla", columns=COLUMNS, sampler=replace(SHORT, again=1), progress=False)
    assert attempts == [(60, 40, 0.95)]
    assert chinchilla_posterior.passed and chinchilla_posterior.summary["draws"]["each"] == 1000


@pytest.mark.parametrize(("field", "value"), [("again", 0), ("again", 1.5), ("again_target_accept", 1.0)])
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(InputError, match=rf"^sampler: {field}: {value}"):
        Sampler(**{field: value})


def test_functions_that_no_row_sees_add_nothing_to_the_density(abnar_runs, evaluate):
    asked = request(abnar_runs, laws.get("abnar"))
    made = Prepared.of(asked.law, asked.rows, asked.priors)
    whole = made.data(asked.law, asked.rows)
    lean = fitting.seen(whole)
    assert lean["basis_0"].shape[1] < 0.7 * whole["basis_0"].shape[1]
    assert len(lean["squares_0"]) == len(lean["basis_of_level"]) == lean["basis_0"].shape[1]
    _, compiled = compiled_model(asked.law, asked.priors, made.form)
    for seed in range(3):
        point = np.random.default_rng(seed).normal(0, 0.5, compiled.n_dim)
        value, slopes = evaluate.log_density(compiled.with_data(**whole), point)
        found, gradient = evaluate.log_density(compiled.with_data(**lean), point)
        assert found == pytest.approx(value, abs=1e-6)
        assert gradient == pytest.approx(slopes, rel=1e-7, abs=1e-7 * np.abs(slopes).max())


def gate(name, value, passed=False):
    return gates.Gate(name, "", value, "x", passed)


@pytest.mark.parametrize(
    ("judged", "short"),
    [
        ([gate("bulk effective sample", 200.0), gate("tail effective sample", 320.0)], 2.0),
        ([gate("R-hat", 1.02), gate("tail effective sample", 320.0)], 1.25),
        ([gate("R-hat", 1.08), gate("tail effective sample", 320.0)], None),
        ([gate("divergences", 1.0), gate("tail effective sample", 320.0)], None),
        ([gate("R-hat", 1.02)], None),
        ([gate("bulk effective sample", 0.0)], None),
        ([gate("bulk effective sample", 900.0, True)], None),
    ],
)
def test_too_few_draws_are_told_from_chains_that_do_not_agree(judged, short):
    assert gates.too_few(judged) == short


def test_as_many_more_draws_as_are_needed_and_all_if_that_fails():
    sampler = Sampler(draws=1000, tune=600, again=4)
    first, last = (600, 1000, 0.95), (1200, 4000, 0.985)
    assert sampler.first == first
    assert sampler.after(first, 1.4) == (600, 2100, 0.95)
    assert sampler.after(first, 3.0) == sampler.after(first, None) == last
    assert sampler.after((600, 2100, 0.95), 1.1) == last and sampler.after(last, 1.1) is None
    assert replace(sampler, again=1).after(first, 1.4) is None


def test_slow_chains_are_drawn_only_as_long_as_it_takes(chinchilla_runs, attempts):
    few = replace(SHORT, chains=4, draws=100, tune=200, again=40)
    found = bayes.fit(chinchilla_runs, "chinchilla", columns=COLUMNS, sampler=few, progress=False)
    assert found.passed and len(attempts) == 2
    tune, draws, accept = attempts[1]
    assert (tune, accept) == (200, 0.95) and 100 < draws < 1500
