"""Runs made to tune a recipe stay in the open table, and out of what laws are fitted to."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from moebook.bayes.families import own_table
from moebook.bayes.request import request
from moebook.bayes.stored import read_runs
from moebook.book.profiles import done_runs
from moebook.cli import app
from moebook.errors import InputError
from moebook.runs import Record, Store, load_table
from moebook.runs.sound import check_purpose
from moebook.study import open_study, read_study, worker


def drive(path, folder, runs):
    words = ["study", "run", str(path), "--folder", str(folder), "--runs", str(runs), "--workers", "1"]
    return CliRunner().invoke(app, words)


@pytest.mark.slow
def test_a_study_of_the_table_takes_over_what_tuning_has_run(write_study, tiny, text_folder, tmp_path):
    runs = tmp_path / "runs"
    tuning = write_study(tiny.replace("seeds: [0, 1]", "seeds: [0]") + "purpose: tuning\n")
    assert read_study(tuning).purpose == "tuning"
    ran = drive(tuning, text_folder, runs)
    assert ran.exit_code == 0, ran.output
    before = {record.key: record for record in Store(runs).load()}
    assert {record.purpose for record in before.values()} == {"tuning"}
    assert len(load_table(runs)) == len(before)
    with pytest.raises(InputError, match="no run is done"):
        read_runs(runs, "")
    with pytest.raises(InputError, match="no run that is done"):
        done_runs(load_table(runs))

    ran = drive(write_study(tiny.replace("name: tiny\n", "name: whole\n")), text_folder, runs)
    assert ran.exit_code == 0, ran.output
    assert f"{len(before)} runs that were made for another purpose are cells of this study too" in ran.output
    after = {record.key: record for record in Store(runs).load()}
    assert len(after) == len(before) + 1
    assert {(record.study, record.purpose) for record in after.values()} == {("tiny", ""), ("whole", "")}
    assert all(after[key].measures == record.measures for key, record in before.items())
    rows, _, left_out = read_runs(runs, "")
    assert len(rows) == len(after) and not left_out
    assert Store(runs).check() == []

    ran = drive(tuning, text_folder, runs)
    assert ran.exit_code == 0 and "cells of this study" not in ran.output
    assert {record.purpose for record in Store(runs).load()} == {""}


def test_a_record_without_a_purpose_is_stored_as_it_was():
    config = {
        "model": dict.fromkeys(("width", "layers", "context", "experts", "active", "granularity"), 1),
        "recipe": {}, "text": {"name": "t", "sha256": "ab"}, "tokens": 5, "seed": 0,
    }  # fmt: skip
    plain = Record(config, 1, "failed", {}, reason="r")
    tuned = Record(config, 1, "failed", {}, reason="r", purpose="tuning")
    assert '"purpose"' not in plain.to_json() and '"purpose":"tuning"' in tuned.to_json()
    assert plain.key == tuned.key
    for record in (plain, tuned):
        assert Record.from_json(record.to_json()) == record
    with pytest.raises(InputError, match="purpose: 3"):
        Record(config, 1, "failed", {}, reason="r", purpose=3)


@pytest.mark.slow
def test_what_is_held_out_is_never_fitted_too(write_study, tiny, text_folder, tmp_path):
    runs = tmp_path / "runs"
    one = tiny.replace("budgets: [1e8, 3e8], widths: [8]", "budgets: 1e8, widths: 8, sparsities: 0")
    one = one.split("  - {budgets: 3e8")[0]
    held_out, table = one + "purpose: held-out\n", one.replace("name: tiny\n", "name: table\n")
    assert drive(write_study(held_out), text_folder, runs).exit_code == 0
    stored = [record.to_json() for record in Store(runs).load()]
    refused = drive(write_study(table), text_folder, runs)
    assert isinstance(refused.exception, InputError)
    assert "is there for held-out, and cannot be for the table" in str(refused.exception)
    assert [record.to_json() for record in Store(runs).load()] == stored
    other = tmp_path / "other"
    assert drive(write_study(table), text_folder, other).exit_code == 0
    refused = drive(write_study(held_out), text_folder, other)
    assert "is there for the table, and cannot be for held-out" in str(refused.exception)


@pytest.mark.parametrize(("made", "asked"), [("held-out", ""), ("", "held-out"), ("tuning", "held-out")])
def test_a_worker_refuses_what_another_drive_held_out_meanwhile(made, asked, tmp_path):
    record = replace(stored_records("packages")[0], purpose=made, scores={})
    store = Store(tmp_path)
    store.add(record)
    trunk = SimpleNamespace(cells=[SimpleNamespace(key=record.key)])
    with pytest.raises(InputError, match=f"{record.key}: was made for {made or 'the table'}, and cannot be"):
        worker._refuse_held_out(store, SimpleNamespace(purpose=asked, study="s"), trunk)
    worker._refuse_held_out(store, SimpleNamespace(purpose=made, study="s"), trunk)


def test_a_copy_under_another_name_must_take_that_name(write_study, text_folder, tmp_path):
    copy = write_study().rename(tmp_path / "mine.yml")
    with pytest.raises(InputError, match="mine.yml: name: 'tiny': must be that of the file, 'mine'"):
        open_study(str(copy), text_folder, tmp_path / "runs")


@pytest.mark.parametrize("purpose", ["heldout", "held_out", "Held-Out"])
def test_held_out_has_one_spelling(purpose):
    with pytest.raises(InputError, match="is spelt held-out"):
        check_purpose(purpose)


@pytest.mark.parametrize("field", ["text_sha256", "numerics"])
def test_two_texts_of_a_name_and_two_numerics_make_no_one_table(field, tmp_path):
    one, two = stored_records("packages")[:2]
    if field == "numerics":
        two = replace(two, numerics=one.numerics + 1)
    else:
        text = {**two.config["text"], "sha256": "ab" * 32}
        two = replace(two, config={**two.config, "text": text})
    Store(tmp_path).add(replace(one, scores={}))
    assert len(read_runs(tmp_path, "packages")[0]) == 1
    Store(tmp_path).add(replace(two, scores={}))
    with pytest.raises(InputError, match=rf"packages\): {field}: .*\(1 runs\), .*\(1 runs\)"):
        read_runs(tmp_path, "packages")


def stored_records(text):
    """Records of the stored table that laws are fitted to."""
    records = Store(Path(__file__).resolve().parents[2] / "runs").load(text)
    return [record for record in records if not record.purpose]


def test_cells_are_written_over_cells_only(write_study, text_folder, tmp_path):
    words = ["study", "plan", str(write_study()), "--folder", str(text_folder), "--runs", str(tmp_path / "r")]
    out = tmp_path / "cells.csv"
    for _ in range(2):
        assert CliRunner().invoke(app, [*words, "--out", str(out)]).exit_code == 0
    assert out.read_text().startswith("key,budget_flops,") and len(out.read_text().splitlines()) == 7
    out.write_text("my,losses\n1,2\n")
    refused = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert "is there already and is no table of cells" in str(refused.exception)
    assert out.read_text() == "my,losses\n1,2\n"


def test_an_exported_table_of_two_texts_is_fitted_to_one(tmp_path):
    import pandas as pd

    table = pd.DataFrame(
        {"key": list("abc"), "study": "s", "purpose": "", "text": ["t", "u", "u"], "numerics": 2,
         "status": "done", "loss_nats": [3.0, 2.0, 1.0]}
    )  # fmt: skip
    table.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError, match="text: t, u: losses compare within one text; choose by --text"):
        read_runs(tmp_path / "runs.csv", "")
    rows, label, _ = read_runs(tmp_path / "runs.csv", "u")
    assert list(rows["key"]) == ["b", "c"] and label.endswith("runs.csv (u)")
    with pytest.raises(InputError, match="text: t, u: losses compare within one text"):
        own_table(tmp_path / "runs.csv", "chinchilla")
    with pytest.raises(InputError, match="text: t, u: losses compare within one text"):
        request(table, "chinchilla")
    table[["key", "loss_nats"]].to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(InputError, match="--text: u: .*theirs.csv is no table of records"):
        read_runs(tmp_path / "theirs.csv", "u")


def test_a_purpose_must_be_text(write_study, tiny):
    with pytest.raises(InputError, match="purpose: 3: must be text"):
        read_study(write_study(tiny + "purpose: 3\n"))


def test_an_exported_table_leaves_them_out_too_and_others_columns_of_that_name_mean_nothing():
    import pandas as pd

    from moebook.bayes.reading import finished

    own = pd.DataFrame(
        {"key": list("abcd"), "study": "s", "purpose": ["", None, "tuning", "held-out"], "text": "t",
         "status": ["done", "failed", "done", "done"], "numerics": 2}
    )  # fmt: skip
    rows, left_out = finished(own)
    assert list(rows["key"]) == ["a"] and left_out == {"tuning": 1, "held-out": 1, "failed": 1}
    assert list(finished(own.drop(columns="text"))[0]["key"]) == ["a"]
    theirs = own.drop(columns="numerics")
    assert list(finished(theirs)[0]["key"]) == ["a", "c", "d"]
