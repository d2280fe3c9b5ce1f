"""`forecast` with several posteriors, as a shell sees it."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AT = ("--at", "params=1e8,tokens=1e10")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Folders of a right and a wrong posterior of the same runs, of one of other runs, and of one that
    failed."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "tests" / "bayes" / "made.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    folder, runs = tmp_path_factory.mktemp("stored"), made.made_runs()
    made.made_posterior(runs, spread=0.002).save(folder / "right")
    made.made_posterior(runs, E=1.9, spread=0.002, seed=1).save(folder / "wrong")
    made.made_posterior(made.made_runs(seed=1)).save(folder / "other")
    failed = made.made_posterior(runs)
    failed.summary["status"] = "failed"
    failed.save(folder / "failed")
    return folder


def test_posteriors_are_mixed_and_their_weights_said(stored, moebook):
    code, out, _ = moebook("forecast", stored / "wrong", stored / "right", *AT)
    assert code == 0 and "mixed from" in out
    code, out, _ = moebook("forecast", stored / "wrong", stored / "right", *AT, "--json")
    answer = json.loads(out)
    weights = {one["posterior"]: one["weight"] for one in answer["posteriors"]}
    assert weights["right"] > 0.95 and sum(weights.values()) == pytest.approx(1)
    _, out, _ = moebook("forecast", stored / "right", *AT, "--json")
    alone = json.loads(out)["rows"][0]
    assert answer["rows"][0]["run_median_nats"] == pytest.approx(alone["run_median_nats"], rel=0.002)


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        (("right", "other"), 2, "were fitted to different rows (28 and 28); only right has row"),
        (("right", "right"), 2, "given twice"),
        (("right", "nowhere"), 2, "nowhere/posterior.nc: no such file"),
        (("right", "failed"), 1, "error: failed: posterior"),
        ((), 2, "forecast: Missing argument"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_one_line(names, code, says, stored, moebook, tmp_path):
    words = (*(stored / name for name in names), *AT, "--out", "rows.csv")
    found, out, err = moebook("forecast", *words)
    assert found == code and says in err and err.count("\n") == 1 and out == ""
    assert list(tmp_path.iterdir()) == []
