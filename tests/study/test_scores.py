"""A study that asks for scores gets them with each run; one that does not has the records of before."""

import json

import pytest
from typer.testing import CliRunner

from moebook.cli import app
from moebook.errors import InputError
from moebook.runs import Store
from moebook.scores import TASKS, ScoreSpec
from moebook.study import Job, cells_of, open_study, read_study, run_trunks
from moebook.text import TextSpec

SCORES = "scores: {tasks: [recall, words], other: {source: folder, name: english}}\n"


@pytest.fixture
def long(tiny):
    """The study, with the context that scores need, and few runs."""
    return tiny.replace("context: 32", "context: 128").replace("seeds: [0, 1]", "seeds: [0]")


def test_scores_are_read_typed_and_are_no_part_of_a_key(write_study, long, text_folder, tmp_path):
    plain = read_study(write_study(long))
    assert plain.scores is None
    opened = open_study(str(write_study(long)), text_folder, tmp_path)
    keys = [cell.key for _, cell in cells_of(opened.trunks)]
    scored = read_study(write_study(long + SCORES))
    assert scored.scores == ScoreSpec(("recall", "words"), TextSpec("folder", "english"))
    assert read_study(write_study(long + "scores:\n")).scores == ScoreSpec(TASKS)
    opened = open_study(str(write_study(long + SCORES)), text_folder, tmp_path)
    assert [cell.key for _, cell in cells_of(opened.trunks)] == keys


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("scores: all", "scores: 'all'"),
        ("scores: {task: blimp}", "scores: task: unknown field"),
        ("scores: {tasks: [blimp, colour]}", "scores: tasks: 'colour'"),
        ("scores: {tasks: [1]}", "scores: tasks: [1]"),
        ("scores: {tasks: []}", "scores: tasks: []"),
        ("scores: {other: {source: web, name: x}}", "scores: other: text: source: 'web'"),
        ("scores: {other: english}", "scores: other: 'english'"),
    ],
)
def test_bad_scores_are_refused_by_name(write_study, long, block, words):
    with pytest.raises(InputError) as caught:
        read_study(write_study(f"{long}{block}\n"))
    assert words in str(caught.value) and "tiny.yml" in str(caught.value)


def command(*words):
    return CliRunner().invoke(app, ["study", *map(str, words)])


def test_a_drive_scores_each_branch_and_says_which_done_runs_never_will_be(
    write_study, long, text_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runs = tmp_path / "runs"
    where = ["--folder", text_folder, "--runs", runs]
    opened = open_study(str(write_study(long)), text_folder, runs, ["width=8", "sparsity=0"])
    first = [cell.key for _, cell in cells_of(opened.trunks)]
    job = Job("tiny", opened.study.text, text_folder, runs, runs / "work")
    assert not run_trunks(opened.trunks, opened.costs(1).trunk_seconds, job, 1).failures
    before = {record.key: record for record in Store(runs).load()}
    assert set(before) == set(first) and all("scores" not in r.to_dict() for r in before.values())

    path = write_study(long + SCORES)
    assert f"{len(first)} done runs have no scores" in command("plan", path, *where).output
    refused = command("run", path, *where, "--data", tmp_path / "gone")
    assert isinstance(refused.exception, InputError) and "--data" in str(refused.exception)
    ended = command("run", path, *where, "--workers", 1, "--json")
    assert ended.exit_code == 0, ended.output
    assert "scores: words will not be measured: needs books.jsonl.xz" in ended.stderr
    assert json.loads(ended.stdout)["never_scored"] == len(first)
    records = {record.key: record for record in Store(runs).load()}
    assert len(records) == 5 and Store(runs).check() == []
    for key, record in records.items():
        if key in first:
            assert record == before[key]
            continue
        tasks = record.scores["tasks"]
        assert tasks["recall"]["status"] == "done" and tasks["words"]["status"] == "not measured"
        assert set(Store(runs).items(record)) == {"recall"}
    scored = [records[key].scores["tasks"]["recall"] for key in records if key not in first]
    assert len({json.dumps(entry) for entry in scored}) == len(scored)  # each branch by its own weights


def test_scores_take_time_that_a_plan_knows_of(write_study, long, text_folder, tmp_path):
    seconds = [
        open_study(str(write_study(content)), text_folder, tmp_path).costs(1).process_seconds
        for content in (long, long + SCORES, long + "scores: {}\n")
    ]
    assert seconds[0] < seconds[1] < seconds[2]
