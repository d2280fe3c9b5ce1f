"""Simulation-based calibration: what is simulated, what is ranked, what is kept, and that bugs are found."""

import json
import multiprocessing
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from moebook import laws
from moebook.bayes import Priors
from moebook.bayes.calibration import Calibrator, Chains, Ranked, Setup
from moebook.bayes.calibrations import Calibration, calibrate, ingredients, read_calibration
from moebook.bayes.designs import grid_of
from moebook.bayes.plants import PLANTS, Plant, plant_of
from moebook.bayes.tested import Coefficients, Forecasts, Likelihood, standard
from moebook.errors import InputError

QUICK = Chains(draws=100, tune=300, most=4)


def setup_of(name="chinchilla", plant="", chains=QUICK, **priors):
    law = laws.get(name)
    rows = grid_of(law)
    return Setup(name, rows, Priors(**priors), chains, 0, standard(law, rows), plant_of(plant))


def made_fits(count):
    """Fits that were not made, for what is done with them."""
    rng = np.random.default_rng(0)
    names = ("level", "alpha", "beta")
    ranks = [{name: int(rng.integers(100)) for name in names} for _ in range(count)]
    return tuple(
        Ranked(i, ranks[i], int(i == 3), 1.01 + 0.1 * (i == 3), 150.0, 2, 0.5) for i in range(count)
    )


def made_calibration(setup, count):
    names = ("level", "alpha", "beta")
    return Calibration(
        setup.law, "grid", len(setup.rows), setup.plant.name, 99, names, made_fits(count),
        ingredients(setup),
    )  # fmt: skip


def test_every_law_has_a_grid_that_it_can_be_fitted_to():
    for name in laws.names():
        law = laws.get(name)
        rows = grid_of(law)
        assert all(len(np.unique(rows.columns[column])) >= 4 for column in law.columns)
        assert np.log(rows.loss_nats).mean() == pytest.approx(0, abs=1e-12)


def test_forecasts_are_at_three_and_ten_times_the_largest_budget():
    law = laws.get("abnar")
    rows = grid_of(law)
    points = {name: dict(values) for name, values in Forecasts.of(law, rows).points}
    top = rows.columns["params"].max() * rows.columns["tokens"].max()
    for times in (3, 10):
        for sparsity in (0, 0.984375):
            point = points[f"{times} x the budget, S = {sparsity:.4g}"]
            assert point["params"] * point["tokens"] == pytest.approx(times * top)
            assert point["sparsity"] == sparsity
    assert points["cheapest run"]["params"] == rows.columns["params"].min()
    assert points["centre"]["tokens"] == pytest.approx(np.exp(np.log(rows.columns["tokens"]).mean()))


@pytest.fixture(scope="module")
def simulated():
    """A hundred truths of Chinchilla's law; nothing is fitted."""
    calibrator = Calibrator(setup_of())
    return calibrator, [calibrator.truth(number) for number in range(100)]


@pytest.mark.slow
def test_truths_come_from_the_prior_and_runs_from_the_truths(simulated):
    calibrator, truths = simulated
    priors = calibrator.setup.priors
    for name, spread in (("alpha", priors.exponent_spread), ("beta", priors.exponent_spread)):
        z = np.log([t.draws(name)[0] / priors.exponent_median for t in truths]) / spread
        assert stats.kstest(z, "norm").pvalue > 0.001
    level = np.log([t.draws("level")[0] for t in truths]) / priors.level_spread
    assert stats.kstest(level, "norm").pvalue > 0.001  # about the design's level, not the simulated runs'
    z = [t.residual(misfit=True)[0] / t.draws("noise_scale")[0] for t in truths]
    assert stats.kstest(np.concatenate(z), "norm").pvalue > 0.001
    weights = np.array([t.draws("discrepancy_weights")[0] for t in truths])
    assert stats.kstest(weights.ravel(), "norm").pvalue > 0.001


@pytest.mark.slow
def test_a_truth_is_the_same_whatever_was_drawn_before(simulated):
    calibrator, truths = simulated
    again = Calibrator(calibrator.setup).truth(7)
    for name in ("level", "alpha", "noise_scale", "discrepancy_weights"):
        assert np.array_equal(again.draws(name), truths[7].draws(name))
    assert np.array_equal(again.rows["loss_nats"], truths[7].rows["loss_nats"])


@pytest.mark.slow
def test_the_likelihood_is_the_density_of_the_runs(simulated):
    """Against SciPy's multivariate normal, row by row where the misfit is known."""
    truth = simulated[1][0]
    found = Likelihood()(truth)
    tau, sigma = (truth.draws(name)[0] for name in ("discrepancy_scale", "noise_scale"))
    phi = truth.basis(truth.rows["params"], truth.rows["tokens"])
    covariance = sigma**2 * np.eye(len(phi)) + tau**2 * phi @ phi.T
    law = stats.multivariate_normal(None, covariance).logpdf(truth.residual(misfit=False)[0])
    assert found["log likelihood, misfit integrated out"] == pytest.approx(law)
    assert found["log likelihood"] == pytest.approx(
        stats.norm(0, sigma).logpdf(truth.residual(misfit=True)[0]).sum()
    )
    coefficients = Coefficients()(truth)
    assert set(coefficients) >= {"level", "alpha", "E", "A", "B", "noise_scale"}
    assert coefficients["E"] + coefficients["A"] * truth.units["params"] ** -coefficients["alpha"] + (
        coefficients["B"] * truth.units["tokens"] ** -coefficients["beta"]
    ) == pytest.approx(coefficients["level"])


@pytest.mark.slow
def test_a_right_fit_passes_and_planted_bugs_are_found(tmp_path):
    """A dozen fits each: enough for twice the noise and for misfit left out, not for a subtle one."""
    found = calibrate(setup_of(), 12, tmp_path / "right.json")
    assert not found.rejected
    for name, guilty in (("noise", "noise_scale"), ("misfit", "log likelihood")):
        found = calibrate(setup_of(plant=name), 12, tmp_path / f"{name}.json")
        assert guilty in found.rejected and found.plant == name


@dataclass(frozen=True)
class FromPriors:
    """How far exponents lie from the middle of their prior. Ranks of an exponent itself stay nearly uniform
    under a flat prior, which is calibrated on its own; this distance does not."""

    def __call__(self, posterior):
        middle = Priors().exponent_median
        return {f"{n} from its prior": np.abs(np.log(posterior.draws(n) / middle)) for n in ("alpha", "beta")}


@pytest.mark.slow
@pytest.mark.parametrize("plant", ["", "prior"])
def test_a_prior_left_out_is_found_by_the_distance_from_it(plant, tmp_path):
    setup = replace(setup_of(plant=plant, exponent_spread=0.05), quantities=(Coefficients(), FromPriors()))
    found = calibrate(setup, 16, tmp_path / "ranks.json")
    guilty = {"alpha from its prior", "beta from its prior"} if plant else set()
    assert set(found.rejected) == guilty


@pytest.mark.slow
def test_processes_make_the_same_ranks_and_a_killed_run_goes_on(tmp_path):
    setup = setup_of()
    context = multiprocessing.get_context("spawn")
    alone = tmp_path / "alone.json"
    process = context.Process(target=calibrate, args=(setup, 400, alone))
    process.start()
    while not alone.exists() or len(read_calibration(alone).fits) < 2:
        assert process.is_alive()
        time.sleep(0.2)
    process.kill()
    process.join()
    before = read_calibration(alone)
    assert 2 <= len(before.fits) < 400
    done = []
    after = calibrate(setup, len(before.fits) + 2, alone, on_fit=lambda made, fits: done.append(made))
    assert done == [len(before.fits) + i for i in range(3)]
    assert after.fits[: len(before.fits)] == before.fits  # CPU-seconds too: these are not made again
    both = calibrate(setup, len(after.fits), tmp_path / "both.json", jobs=2)
    assert all(np.array_equal(both.ranks[name], after.ranks[name]) for name in after.names)


def test_a_file_says_what_was_calibrated_and_is_read_back(tmp_path):
    setup = setup_of()
    stored = made_calibration(setup, 40)
    path = tmp_path / "chinchilla.json"
    path.write_text(stored.text())
    found = read_calibration(path)
    assert found == stored and found.identity == stored.identity
    assert found.text() == path.read_text()
    assert found.ingredients["data"] == setup.rows.sha256()
    assert found.failed == {"divergences": 1, "R-hat >= 1.05": 1, "effective < 99": 0, "any": 1}
    assert len(found.ranks["level"]) == 40  # the failed fit is in the ranks
    assert found.summary()["calibrated"] is (not found.rejected)


def test_what_is_there_is_not_made_again(tmp_path):
    setup = setup_of()
    path = tmp_path / "chinchilla.json"
    path.write_text(made_calibration(setup, 40).text())
    assert len(calibrate(setup, 30, path).fits) == 40


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seed": 1}, "seed"),
        ({"priors": Priors(exponent_spread=0.6)}, "priors"),
        ({"chains": replace(QUICK, draws=200)}, "sampler"),
        ({"plant": PLANTS["noise"]}, "calibration"),
        ({"quantities": (Coefficients(),)}, "calibration"),
    ],
)
def test_another_calibration_is_not_overwritten(tmp_path, change, differs):
    setup = setup_of()
    path = tmp_path / "chinchilla.json"
    path.write_text(made_calibration(setup, 3).text())
    with pytest.raises(InputError, match=f"another calibration: {differs} differ; replace it by --force"):
        calibrate(replace(setup, **change), 3, path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: s.update(format=2), "format 2 is not 1"),
        (lambda s: s["ingredients"].update(seed=5), "identity"),
        (lambda s: s.pop("fits"), "'fits'"),
        (lambda s: s["fits"][1]["ranks"].pop(), "shorter"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, spoil, says):
    path = tmp_path / "chinchilla.json"
    stored = json.loads(made_calibration(setup_of(), 3).text())
    spoil(stored)
    path.write_text(json.dumps(stored))
    with pytest.raises(InputError, match=f"chinchilla.json: is no calibration: .*{says}"):
        read_calibration(path)


def test_a_planted_bug_changes_the_fit_alone():
    priors = Priors()
    assert Plant().of_fit(priors) == priors and PLANTS["noise"].of_fit(priors) == priors
    changed = {n for name in ("prior", "misfit") for n, v in asdict(PLANTS[name].of_fit(priors)).items()
               if v != getattr(priors, n)}  # fmt: skip
    assert changed == {"exponent_spread", "discrepancy_median", "discrepancy_spread"}
    with pytest.raises(InputError, match="plant: typo: unknown; there are noise, prior, misfit"):
        plant_of("typo")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"ranked": 900}, "ranked: 900: more than 2 x 400"), ({"draws": 0}, "draws: 0"),
     ({"target_accept": 1.0}, "target_accept: 1.0")],
)  # fmt: skip
def test_chains_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(InputError, match=f"chains: {says}"):
        Chains(**wrong)


STORED = sorted((Path(__file__).resolve().parents[2] / "runs" / "calibration").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_calibrations_are_whole_and_tell_nothing_against_the_inference(path):
    found = read_calibration(path)
    assert [fit.number for fit in found.fits] == list(range(len(found.fits))) and len(found.fits) >= 500
    assert found.plant == "" and not found.rejected
    assert found.text() == path.read_text("utf-8")
