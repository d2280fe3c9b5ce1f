"""A forecast that was written down is compared with the runs made since, by their keys."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from moebook.bayes.judging import judge
from moebook.cli import app
from moebook.errors import InputError

ENGLISH = Path(__file__).parents[2] / "runs" / "posteriors" / "english"
SAID = pd.DataFrame(
    {"key": ["a", "a", "b", "b", "c", "c", "d", "d"], "interval": 4 * [0.5, 0.9],
     "run_low_nats": 4 * [1.9, 1.8], "run_median_nats": 2.0, "run_high_nats": 4 * [2.1, 2.2]}
)  # fmt: skip
RUNS = pd.DataFrame(
    {"key": ["z", "c", "a", "b"], "loss_nats": [9.0, None, 2.15, 2.1],
     "status": ["done", "diverged", "done", "done"]}
)  # fmt: skip


def test_each_run_is_judged_at_each_level_and_what_is_not_made_waits():
    found = judge(SAID, RUNS)
    assert found.inside == {0.5: 1, 0.9: 2}
    assert (found.asked, found.done, found.without_loss) == (4, 2, {"diverged": 1})
    assert found.error_nats == pytest.approx([0.15, 0.1])
    nothing = judge(SAID, RUNS[RUNS["key"] == "z"])
    assert (nothing.asked, nothing.done, nothing.inside, len(nothing.error_nats)) == (4, 0, {}, 0)


def test_tables_of_others_say_done_and_not_yet_in_their_own_ways():
    theirs = pd.DataFrame({"key": ["a", "b", "c"], "loss_nats": ["2.15", "2.1", ""],
                           "status": ["Finished", "completed", "running"]})  # fmt: skip
    found = judge(SAID, theirs)
    assert (found.done, found.inside, found.without_loss) == (2, {0.5: 1, 0.9: 2}, {"running": 1})
    waiting = judge(SAID, theirs.drop(columns="status"))
    assert (waiting.done, waiting.inside, waiting.without_loss) == (2, {0.5: 1, 0.9: 2}, {})
    without = pd.concat([SAID, SAID[:2].assign(key="")])
    assert judge(without, RUNS).asked == 4


@pytest.mark.parametrize(
    ("said", "runs", "says"),
    [
        (SAID.drop(columns="key"), RUNS, "said.csv: key: no such column; the table that was forecast had"),
        (SAID.drop(columns="run_low_nats"), RUNS, "said.csv: run_low_nats: no such column"),
        (SAID, RUNS.drop(columns="loss_nats"), "runs: loss: no column for it; there are "),
        (SAID, RUNS.assign(loss_nats="much"), "runs: key a: loss_nats: 'much': must be a number"),
        (SAID.assign(run_low_nats="x"), RUNS, "said.csv: key a: run_low_nats: 'x': must be a number"),
        (SAID.assign(interval=5), RUNS, "said.csv: key a: interval: 5: must lie between 0 and 1"),
        (SAID.assign(run_low_nats=99.0), RUNS, "said.csv: key a: run_low_nats: 99: must not lie above"),
        (SAID, RUNS.assign(loss_nats=-3.0), "runs: key a: loss_nats: -3: must be positive"),
        (pd.concat([SAID, SAID[:1]]), RUNS, "said.csv: key: a: is there twice"),
        (SAID, pd.concat([RUNS, RUNS[2:3]]), "runs: key: a: is there twice"),
    ],
)
def test_what_cannot_be_matched_is_refused(said, runs, says):
    with pytest.raises(InputError, match=f"^{says}"):
        judge(said, runs, "said.csv")


def test_the_runs_may_name_their_columns_as_for_a_fit():
    theirs = RUNS.rename(columns={"key": "run_id", "loss_nats": "bpb"})
    theirs["bpb"] = pd.to_numeric(theirs["bpb"], errors="coerce") / np.log(2)
    names = {"key": "run_id"}
    expected = judge(SAID, RUNS)
    found = judge(SAID, theirs, names=names)
    assert found.inside == expected.inside and found.done == expected.done
    np.testing.assert_allclose(found.error_nats, expected.error_nats, atol=1e-12)
    with pytest.raises(InputError, match="^made.csv: key: no column for it; there are run_id, "):
        judge(SAID, theirs, made="made.csv")
    with pytest.raises(InputError, match="columns: tokens: a judgement reads key and loss"):
        judge(SAID, theirs, names={"tokens": "D"})


def test_from_a_plan_to_a_judged_forecast(tmp_path):
    plan = pd.DataFrame(
        {"key": ["k1", "k2"], "params": [3e5, 4e5], "params_active": 2e5, "tokens": 1e7,
         "sparsity": [0.5, 0.75], "compute_flops": 1e13}
    )  # fmt: skip
    plan.to_csv(tmp_path / "cells.csv", index=False)
    out = tmp_path / "said.csv"
    words = ["forecast", str(ENGLISH), "--at", str(tmp_path / "cells.csv"), "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--interval", ".5", "--interval", ".9"])
    assert done.exit_code == 0, done.output
    assert "one run, 50 %" in done.output and "one run, 90 %" in done.output
    rows = pd.read_csv(out)
    assert list(rows["key"]) == ["k1", "k2"] * 2 and list(rows["row"]) == [1, 2] * 2
    assert list(rows["interval"]) == [0.5, 0.5, 0.9, 0.9]
    assert set(rows["posterior"]) == {json.loads((ENGLISH / "summary.json").read_text())["identity"]}
    low = rows.pivot(index="key", columns="interval", values="run_low_nats")
    assert (low[0.9] < low[0.5]).all()
    pd.DataFrame({"key": ["k1"], "loss_nats": rows["run_median_nats"][:1]}).to_csv(
        tmp_path / "made.csv", index=False
    )
    words = ["judge", str(out), "--by", str(tmp_path / "made.csv")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "1 of 1 runs lie in their intervals of 90 %" in said.output
    assert "2 runs were forecast: 1 done, 1 not made yet" in said.output
    report = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert report["inside"] == [{"interval": 0.5, "runs": 1}, {"interval": 0.9, "runs": 1}]
    twice = CliRunner().invoke(app, ["forecast", str(ENGLISH), "--at", "x=1", *2 * ["--interval", ".5"]])
    assert "--interval: 0.5, 0.5: without repeats" in str(twice.exception)
