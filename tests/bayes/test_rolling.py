"""Scoring of tables end to end: each origin fitted once, kept when the process is killed, never leaking."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moebook.bayes import Sampler, rolling
from moebook.bayes.families import Table, own_table, public_tables, record_tables
from moebook.bayes.origins import Leak
from moebook.cli import main
from moebook.errors import InputError

SHORT = Sampler(chains=2, draws=60, tune=60, stored=60, prior_draws=20)


@pytest.fixture(scope="module")
def csv(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    made.made_runs(budgets=np.geomspace(1e17, 1e21, 9)).rename(columns={"params": "N"}).to_csv(path)
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return rolling.Settings(SHORT, fits=tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def scored(csv, settings, tmp_path_factory):
    """(the answer, its folder) of one table, with a fit at each origin."""
    out = tmp_path_factory.mktemp("scores")
    return rolling.score([own_table(csv, "chinchilla")], out, settings), out


@pytest.mark.slow
def test_every_origin_of_a_table_is_scored(scored):
    answer, out = scored
    results = answer["results"]
    assert json.loads((out / rolling.RESULTS_FILE).read_text()) == answer and answer["complete"]
    assert [one["kind"] for one in results] == ["inner"] * 3 + ["top"]
    assert [one["fitted"] + one["asked"] for one in results] == [63] * 4
    for one in results:
        points = one["points"]
        assert min(points["beyond"]) > 1 and one["level_of"] == "compute_flops"
        assert set(one["fit"]) == {
            "status", "divergences", "rhat", "rhat_of", "efmi", "ess_bulk", "ess_tail"
        }  # fmt: skip
        assert one["fit"]["status"] == "failed", "sixty draws pass no gate, and it is said"
        assert all(len(values) == one["asked"] for values in points["model"].values())
        assert sum(points["top"]) == 14
    # The runs come from the law: forecasts are right, and far better than guessing.
    for part in ("inner", "top"):
        pooled = answer["summary"][part]["pooled"]
        assert pooled["model.coverage_90"]["value"] > 0.7 and pooled["model.crps"]["value"] < 0.02


@pytest.mark.slow
def test_what_is_stored_is_not_fitted_again(scored, csv, settings, monkeypatch):
    answer, out = scored

    def never(*_):
        raise AssertionError("fitted again")

    monkeypatch.setattr(rolling, "score_origin", never)
    said = []
    assert rolling.score([own_table(csv, "chinchilla")], out, settings, said.append) == answer
    assert said == ["4 origins of 1 tables, 4 known"]
    with pytest.raises(AssertionError, match="fitted again"):  # another seed is another result
        rolling.score([own_table(csv, "chinchilla")], out, replace(settings, seed=1))


@pytest.mark.slow
def test_a_change_of_the_scores_needs_no_fit(scored, csv, settings, monkeypatch, tmp_path):
    answer, _ = scored
    import moebook.bayes.fitting as fitting

    monkeypatch.setattr(fitting, "fit", None)  # calling it would raise
    assert rolling.score([own_table(csv, "chinchilla")], tmp_path, settings) == answer


@pytest.mark.slow
def test_a_changed_run_changes_the_keys_of_what_reads_it(scored, csv, settings, tmp_path):
    answer, _ = scored
    runs = pd.read_csv(csv, index_col=0)
    runs.loc[runs.index[-1], "loss"] += 1e-9  # of the largest budget: asked for, never fitted
    changed = tmp_path / "mine.csv"
    runs.to_csv(changed)
    tasks = list(rolling.tasks_of(own_table(changed, "chinchilla"), settings))
    assert [task.identity for task in tasks] == [one["identity"] for one in answer["results"]]
    assert not {task.key for task in tasks} & {one["key"] for one in answer["results"]}


@pytest.mark.slow
def test_a_run_planted_among_the_fitted_is_caught(scored, csv, settings):
    """Of a table and an origin that somebody got wrong: one asked row is fitted as well."""
    task = next(rolling.tasks_of(own_table(csv, "chinchilla"), settings))
    fitted = np.append(task.origin.fitted, task.origin.asked[0])
    planted = replace(task.origin, fitted=fitted)
    wrong = replace(task, origin=planted)
    wrong = replace(wrong, identity=rolling._request(wrong.table, planted, settings).identity)
    with pytest.raises(Leak, match="1 of the runs asked for are among those fitted"):
        rolling.score_origin(wrong, settings)


@pytest.mark.slow
def test_a_killed_process_keeps_the_origins_that_it_finished(csv, tmp_path, monkeypatch, capsys):
    file = tmp_path / "scores" / rolling.RESULTS_FILE
    words = ["score", str(csv), "--law", "chinchilla", "--draws", "60", "--tune", "60"]
    words += ["--out", str(file.parent)]
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "cache"))
    process = subprocess.Popen([sys.executable, "-m", "moebook", *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    while not file.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = json.loads(file.read_text())
    assert not kept["complete"] and kept["summary"] is None and 1 <= len(kept["results"]) < 4
    monkeypatch.setattr("sys.argv", ["moebook", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert not end.value.code and f"4 origins of 1 tables, {len(kept['results'])} known" in said.err
    whole = json.loads(file.read_text())
    assert whole["complete"] and whole["results"][: len(kept["results"])] == kept["results"]
    assert "fits failed a gate" in said.out and "forecasts, " in said.out


def test_the_families_are_the_split_ones(shared):
    tables = public_tables(shared / "data")
    assert len(tables) == 19 and len({table.group for table in tables}) == 6
    assert [table.law.name for table in tables].count("clark") == 3
    for table in tables:
        points = table.points()
        level_of, sizes = table.sizes(points)
        assert (level_of == "params_active") == (table.law.name == "clark") and len(sizes) == len(points)


@pytest.mark.slow
def test_what_is_stored_of_other_tables_stays(scored, csv, settings, tmp_path):
    answer, out = scored
    other = [{**result, "table": "other", "key": f"{i:016x}"} for i, result in enumerate(answer["results"])]
    stored = {**answer, "results": [*other, *answer["results"]]}
    (tmp_path / rolling.RESULTS_FILE).write_text(json.dumps(stored))
    found = rolling.score([], tmp_path, settings)
    assert found["results"] == stored["results"]
    assert set(json.loads((tmp_path / rolling.RESULTS_FILE).read_text())["summary"]["inner"]["tables"]) == {
        "mine", "other"
    }  # fmt: skip


def test_our_own_records_are_tables(pytestconfig):
    tables = record_tables(pytestconfig.rootpath / "runs")
    assert [table.name for table in tables] == ["own english", "own packages"]
    assert all(len(table.points()) > 60 and table.law.name == "abnar" for table in tables)


def test_a_table_without_compute_has_no_budgets(made):
    runs = made.made_runs().assign(params_active="unknown")
    table = Table("t", "t", own_law(), runs, "mine.csv")
    broken = replace(table.points(), compute_flops=None)
    with pytest.raises(InputError, match=r"mine.csv: compute_flops: no column"):
        table.sizes(broken)


def own_law():
    from moebook import laws

    return laws.get("chinchilla")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "score: needs a table, or --public, or --runs"),
        (("runs.csv", "--public", "x"), "either a table, or --public and --runs"),
        (("--public", "x", "--law", "abnar"), "go with a table of your own"),
        (("--public", "x"), "score: --out: missing"),
        (("--public", "x", "--out", "scores"), "x/chinchilla/runs.csv: cannot be read"),
        (("--runs", "broken", "--out", "scores"), "broken: records: there are none"),
        (("nowhere.csv",), "nowhere.csv: no such file"),
        (("runs.csv", "--law", "newton"), "law: newton: unknown"),
        (("runs.csv", "--out", "scores"), "runs.csv: budgets: 1: two are needed"),
        (("few.csv",), "few.csv: rows: 2 below the largest budgets: a fit needs at least 6"),
        (("runs.csv", "--out", "broken"), "broken/forecasts.json: holds no scores of forecasts"),
        (("runs.csv", "--out", "runs.csv"), "runs.csv: cannot be written"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(words, says, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    header, cells = "N,D,C,loss\n", [f"{10**i}e6,{10**(6 - i)}e8,6e20,3.{i}" for i in range(5)]
    (tmp_path / "runs.csv").write_text(header + "\n".join(cells * 4))
    (tmp_path / "few.csv").write_text("N,D,loss\n1e6,1e8,4\n2e6,1e8,3.9\n1e8,1e10,3\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "forecasts.json").write_text("[]")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    monkeypatch.setattr("sys.argv", ["moebook", "score", *words])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 2 and says in said.err and said.err.count("\n") == 1 and said.out == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
