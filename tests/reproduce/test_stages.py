"""Retraining and refitting against what is committed; a planted difference is found."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moebook.bayes import read_summary
from moebook.reproduce import DIFFERS, SAME_BITS, WITHIN_SEED_NOISE, compare_posterior, retrain, worst
from moebook.runs import Store

ROOT = Path(__file__).resolve().parents[2]
ONE_CELL = ["budget=3e10", "width=16", "sparsity=0.75", "seed=0"]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The committed studies and records, in a folder of their own."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "studies", root / "studies")
    shutil.copytree(ROOT / "runs" / "records", root / "runs" / "records")
    return root


def test_a_retrained_run_agrees_with_the_committed_one_and_a_forged_one_does_not(copied, tmp_path):
    (found,) = retrain(copied, tmp_path / "first", ONE_CELL)
    assert found.level in (SAME_BITS, WITHIN_SEED_NOISE), found
    store = Store(copied / "runs")
    honest = store.get(found.name)
    forged = replace(honest, measures=honest.measures | {"loss_nats": honest.measures["loss_nats"] - 0.5})
    store.path(honest).write_text(forged.to_json())
    (found,) = retrain(copied, tmp_path / "first", ONE_CELL)
    assert found.level == DIFFERS and "0.5" in found.detail
    assert not list((tmp_path / "first" / "work").glob("*/trunk*")), "no checkpoint is left"


@pytest.mark.parametrize("name", ["english", "packages"])
def test_a_posterior_is_compared_number_by_number(name):
    summary = read_summary(ROOT / "runs" / "posteriors" / name)
    assert summary["status"] == "passed"
    same = compare_posterior(summary, summary)
    assert worst(same) == SAME_BITS and len(same) == 3 * len(summary["estimates"])

    moved = copy.deepcopy(summary)
    beta = moved["estimates"]["beta"]
    beta["q50"] += 100 * beta["mcse_q50"]
    assert [c.name for c in compare_posterior(moved, summary) if c.level == DIFFERS] == ["beta q50"]

    other_rows = copy.deepcopy(summary)
    other_rows["ingredients"]["data"] = "0" * 64
    assert "other rows" in compare_posterior(other_rows, summary)[0].detail

    del moved["estimates"]["beta"]
    assert [c.name for c in compare_posterior(moved, summary) if c.level == DIFFERS] == ["beta"]


@pytest.mark.parametrize("name", ["english", "packages"])
def test_the_committed_posterior_was_fitted_to_the_committed_table(name):
    from moebook import bayes
    from moebook.bayes.stored import read_runs

    rows, source, _ = read_runs(ROOT / "runs", name)
    summary = read_summary(ROOT / "runs" / "posteriors" / name)
    asked = bayes.request(rows, summary["law"], seed=summary["ingredients"]["seed"], source=source)
    assert asked.identity == summary["identity"], "fit it again: moebook fit runs --text NAME --force"
