"""Each gate, broken alone, stops every verb that answers from a posterior, and the book."""

import importlib.util
from pathlib import Path

import arviz as az
import numpy as np
import pytest
import xarray as xr

from moebook import laws
from moebook.bayes.assembly import assemble
from moebook.bayes.prepared import Prepared
from moebook.bayes.request import Sampler, request
from moebook.cli import main

ROOT = Path(__file__).resolve().parents[2]
CHAINS, DRAWS = 4, 750
BLOCK = 25  # draws that a sticky chain stays where it is
AT = {
    "level": 2.5, "data_share": 0.2, "floor_of_rest": 0.8, "alpha": 0.35, "beta": 0.37,
    "discrepancy_scale": 0.01, "noise_scale": 0.01,
}  # fmt: skip


def elsewhere(z, diverging, energy):
    """One chain has found another place."""
    z[2] += 1.0


def one_divergence(z, diverging, energy):
    diverging[3, 7] = True


def slow_energy(z, diverging, energy):
    """The momenta change the energy little: it walks."""
    energy[1] = np.cumsum(energy[1])


def sticky_middle(z, diverging, energy):
    """The sign is kept for a block; chains agree, and their tails are seen often enough."""
    sign = np.where(np.arange(DRAWS) // BLOCK % 2, 1.0, -1.0)
    z[:] = sign * np.abs(z)


def sticky_tails(z, diverging, energy):
    """Every eighth block lies in the tails, on both sides: the middle is well seen, its ends are not."""
    far = np.arange(DRAWS) // BLOCK % 8 == 3
    z[:] = np.where(far, np.sign(z) * (2.5 + np.abs(z)), np.clip(z, -1.8, 1.8))


# Chains that disagree have few effective draws too: that gate cannot hold where R-hat does not.
BROKEN = {
    "R-hat": (elsewhere, {"bulk effective sample", "tail effective sample"}),
    "divergences": (one_divergence, set()),
    "E-FMI": (slow_energy, set()),
    "bulk effective sample": (sticky_middle, set()),
    "tail effective sample": (sticky_tails, set()),
}


@pytest.fixture(scope="module")
def posterior_of():
    """posterior_of(what breaks it) -> a posterior as a fit makes it, of draws made by hand."""
    path = ROOT / "tests" / "bayes" / "made.py"
    spec = importlib.util.spec_from_file_location("made", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    sampler = Sampler(chains=CHAINS, draws=DRAWS, stored=100)
    asked = request(made.made_runs(), laws.get("chinchilla"), sampler=sampler, source="made")
    prepared = Prepared.of(asked.law, asked.rows, asked.priors)

    def make(breaking=None):
        rng = np.random.default_rng(1)
        z = {name: rng.standard_normal((CHAINS, DRAWS)) for name in AT}
        diverging, energy = np.zeros((CHAINS, DRAWS), bool), rng.standard_normal((CHAINS, DRAWS))
        if breaking:
            breaking(z["beta"], diverging, energy)
        draws = {n: (("chain", "draw"), value * np.exp(0.01 * z[n])) for n, value in AT.items()}
        stats = {"diverging": (("chain", "draw"), diverging), "energy": (("chain", "draw"), energy)}
        trace = az.InferenceData(posterior=xr.Dataset(draws), sample_stats=xr.Dataset(stats))
        prior = xr.Dataset(
            {n: (("chain", "draw"), v * np.exp(0.3 * rng.standard_normal((1, 50)))) for n, v in AT.items()}
        ).clip(max=dict.fromkeys(AT, 0.99)["beta"])
        return assemble(trace, prior, asked, prepared, {})

    return make


@pytest.fixture(scope="module")
def sound(posterior_of, tmp_path_factory):
    """The folder of a posterior that passed."""
    folder = tmp_path_factory.mktemp("sound") / "sound"
    posterior_of().save(folder)
    return folder


@pytest.fixture
def moebook(monkeypatch, capsys):
    """moebook(words) -> (exit code, standard output, standard error)."""

    def command(*words):
        monkeypatch.setattr("sys.argv", ["moebook", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return command


def verbs(folder, sound, out):
    """Every verb that answers from the posterior in `folder`."""
    return [
        ("optimum", "--compute", "1e20", "--posterior", folder),
        ("forecast", folder, "--at", "params=1e9,tokens=1e11"),
        ("forecast", sound, folder, "--at", "params=1e9,tokens=1e11", "--out", out / "forecast.csv"),
        ("compare", sound, folder),
        ("book", "build", "--out", out),
    ]


def test_a_sound_posterior_answers(sound, moebook, tmp_path):
    for words in verbs(sound, sound, tmp_path)[:2]:
        code, said, error = moebook(*words)
        assert (code, error) == (0, "") and said


@pytest.mark.parametrize("gate", BROKEN)
def test_a_broken_gate_stops_every_answer(gate, posterior_of, sound, moebook, tmp_path, monkeypatch):
    breaking, also = BROKEN[gate]
    posterior = posterior_of(breaking)
    failed = {one["name"] for one in posterior.summary["gates"] if not one["passed"]}
    assert gate in failed and failed <= {gate} | also, "the others hold"
    assert posterior.summary["status"] == "failed"
    folder, out = tmp_path / "runs" / "posteriors" / "broken", tmp_path / "out"
    posterior.save(folder)
    monkeypatch.setenv("MOEBOOK_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(ROOT)
    for words in verbs(folder, sound, out):
        code, said, error = moebook(*words)
        assert (code, said) == (1, ""), words
        *before, line = error.splitlines()
        assert not before or words[0] == "book", "one line, under the book's progress"
        assert line.startswith("error: ") and "broken" in line and f"{gate} " in line, words
        assert not out.exists(), "nothing is written"
