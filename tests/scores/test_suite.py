"""The whole set on one model: what is recorded, what fails, and that a training is not changed by it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from moebook.architecture import Family
from moebook.cli import app
from moebook.errors import InputError
from moebook.model import Decoder
from moebook.runs import SCORE_COLUMNS, Record, Store, row, rows
from moebook.scores import TASKS, ScoreSpec, Suite, suite, words
from moebook.scores.scored import share_with_stderr
from moebook.text import TextSpec
from moebook.train import Recipe, train_trunk

MODEL = Family(layers=1).config(8, 0.75)
BATCH = 4 * 128


@pytest.fixture(scope="module")
def made():
    path = Path(__file__).parents[1] / "train" / "made_text.py"
    spec = importlib.util.spec_from_file_location("made_text", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text(made, tmp_path_factory):
    return made.made_text(tmp_path_factory.mktemp("made"))


@pytest.fixture
def few(monkeypatch):
    """Few items, and another corpus that is at hand."""
    for module, number in (("blimp", 8), ("windows", 16), ("words", 16), ("recall", 32)):
        monkeypatch.setattr(f"moebook.scores.{module}.SMALLEST", number)


@pytest.fixture
def spec(data, monkeypatch, tmp_path):
    """All tasks; the other corpus is a folder within the data."""
    (data / "corpus").mkdir()
    rows = [{"text": f"Another corpus, document {n}. " * 20, "split": "val"} for n in range(30)]
    lines = map(json.dumps, [*rows, {"text": "Its train side.", "split": "train"}])
    (data / "corpus" / "else.jsonl").write_text("\n".join(lines))
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "cache"))
    return ScoreSpec(other=TextSpec("folder", "elsewhere", files=("else",)))


def trained(text, folder, score=None, tokens=(20 * BATCH,)):
    return train_trunk(
        MODEL, Recipe(warmup_tokens=1024), text, 0, list(tokens), folder, device="cpu", score=score
    )


def test_a_run_is_scored_at_its_end_and_trains_as_if_it_were_not(text, spec, data, few, tmp_path):
    scorer, store, kept = Suite(spec, text, data), Store(tmp_path / "runs"), {}

    def score(model, config):
        section, kept[config.key] = scorer(model)
        return section

    records = trained(text, tmp_path / "w", score, (20 * BATCH, 40 * BATCH))
    unscored = trained(text, tmp_path / "p", None, (20 * BATCH, 40 * BATCH))
    for record, plain in zip(records, unscored, strict=True):
        assert (record.key, record.measures, record.curve) == (plain.key, plain.measures, plain.curve)
        assert plain.scores == {} and "scores" not in plain.to_dict()
        tasks = record.scores["tasks"]
        assert [tasks[name]["status"] for name in TASKS] == ["done"] * 5, tasks
        stored = store.add(record, items=kept[record.key])
        assert Record.from_json(store.path(stored).read_bytes()) == stored == store.get(record.key)
    assert records[0].scores["tasks"]["other"] != records[1].scores["tasks"]["other"]
    assert store.check() == []

    items, tasks = store.items(records[0]), records[0].scores["tasks"]
    assert set(items) == set(TASKS)
    for name, entry in tasks.items():  # the file of items gives the scores again
        assert len(items[name]) == entry["items"]
        if entry["unit"] == "share right":
            assert (items[name] > 0).mean() == entry["score"]
    seen = share_with_stderr(items["words"][::2] > 0, np.zeros(16))
    assert seen == (tasks["words"]["parts"]["seen"]["score"], tasks["words"]["parts"]["seen"]["stderr"])

    values = row(records[0])
    assert values["blimp"] == tasks["blimp"]["score"] and values["other_bits"] == tasks["other"]["score"]
    assert values["recall_8_stderr"] == tasks["recall"]["parts"]["8"]["stderr"]
    assert values["words_unseen"] == tasks["words"]["parts"]["unseen"]["score"]
    assert None not in [values[name] for name in SCORE_COLUMNS]
    shown = CliRunner().invoke(app, ["runs", "show", records[0].key, "--runs", str(tmp_path / "runs")])
    assert shown.exit_code == 0 and "scores.blimp" in shown.output and "chance 0.5" in shown.output


def test_a_run_killed_while_it_is_scored_is_scored_when_it_is_taken_up(text, data, few, tmp_path):
    scorer = Suite(ScoreSpec(tasks=("recall",)), text, data)
    found = []

    def killed(model, config):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(text, tmp_path / "w", killed)
    for folder in ("w", "undisturbed"):
        (record,) = trained(text, tmp_path / folder, lambda model, config: scorer(model)[0])
        found.append({name: record.scores[name] for name in ("tasks", "items")})
    assert found[0] == found[1]


def test_one_task_that_fails_is_stored_as_failed_and_the_others_and_the_loss_are_kept(
    text, spec, data, few, tmp_path, monkeypatch
):
    def broken(model, pool, multiple):
        raise KeyError("a bug of ours in /some/folder/file.py")

    monkeypatch.setitem(suite._RULES, "words", broken)
    (data / "eval_wikitext2.jsonl").unlink()
    scorer = Suite(spec, text, data)
    (record,) = trained(text, tmp_path / "w", lambda model, config: scorer(model)[0])
    tasks = record.scores["tasks"]
    assert record.done and record.measures["loss_nats"] > 0
    assert tasks["words"]["status"] == "failed"
    assert "KeyError: 'a bug of ours in file.py'" in tasks["words"]["reason"]
    assert "test_suite.py" in tasks["words"]["reason"]
    assert tasks["wikitext2"]["status"] == "not measured" and "no network" in tasks["wikitext2"]["reason"]
    assert [tasks[name]["status"] for name in ("blimp", "other", "recall")] == ["done"] * 3
    values = row(record)
    assert values["words"] is None and values["wikitext2_bits"] is None and values["blimp"] is not None


def test_without_data_and_network_only_recall_is_measured_and_nothing_is_asked_twice(
    text, data, few, monkeypatch, tmp_path
):
    asked = []

    def unreachable(file, *_):
        asked.append(file)
        raise InputError(f"https://example.org/{file.remote}: cannot be downloaded: no network")

    monkeypatch.setattr("moebook.scores.sources.download", unreachable)
    monkeypatch.setattr("moebook.scores.suite.load_text", lambda *_: unreachable(words))
    spec = ScoreSpec(tasks=("blimp", "wikitext2", "words", "recall"))
    scorer = Suite(spec, text)
    for seed in (0, 1):
        section, _ = scorer(Decoder(MODEL, seed=seed))
        found = {name: entry["status"] for name, entry in section["tasks"].items()}
        assert found == {"blimp": "not measured", "wikitext2": "not measured", "words": "not measured",
                         "recall": "done"}  # fmt: skip
    assert len(asked) == 2
    assert str(tmp_path) not in json.dumps(section)


def test_a_file_that_is_not_the_published_one_is_not_scored_on(text, data, few, monkeypatch):
    monkeypatch.undo()  # the real checksums
    for module, number in (("blimp", 8), ("windows", 16)):
        monkeypatch.setattr(f"moebook.scores.{module}.SMALLEST", number)
    section, _ = Suite(ScoreSpec(tasks=("blimp", "wikitext2")), text, data)(Decoder(MODEL))
    for entry in section["tasks"].values():
        assert entry["status"] == "not measured" and "is not the published one" in entry["reason"]


def test_a_model_whose_context_is_too_short_is_not_measured(text, data):
    section, _ = Suite(ScoreSpec(tasks=("recall",)), text, data)(Decoder(Family(context=32).config(8, 0)))
    assert "context: 32" in section["tasks"]["recall"]["reason"]


def test_a_model_whose_logits_are_not_finite_has_failed_tasks_not_numbers(text, data, few):
    model = Decoder(MODEL)
    model.output.weight.data.fill_(float("nan"))
    section, _ = Suite(ScoreSpec(tasks=("recall", "blimp")), text, data)(model)
    for entry in section["tasks"].values():
        assert entry["status"] == "failed" and "not finite" in entry["reason"] and "score" not in entry


def test_items_pair_with_their_record_alone(text, data, few, tmp_path):
    scorer, store = Suite(ScoreSpec(tasks=("recall",)), text, data), Store(tmp_path)
    kept = []

    def score(model, config):
        section, items = scorer(model)
        kept.append(items)
        return section

    first, second = trained(text, tmp_path / "w", score, (20 * BATCH, 40 * BATCH))
    for items in (None, kept[1]):
        with pytest.raises(InputError, match="the record's items are"):
            store.add(first, items=items)
    assert store.get(first.key) is None
    for record, items in zip((first, second), kept, strict=True):
        store.add(record, items=items)
    paths = [tmp_path / "items" / r.text / f"{r.key}.npz" for r in (first, second)]
    paths[0].write_bytes(paths[1].read_bytes())
    paths[1].unlink()
    found = {problem.path: problem.reason for problem in store.check()}
    assert "the record's items are" in found[paths[0]] and "cannot be read" in found[paths[1]]
    checked = CliRunner().invoke(app, ["runs", "check", "--runs", str(tmp_path)])
    assert checked.exit_code == 1 and str(paths[0]) in checked.output and str(paths[1]) in checked.output
    (plain,) = trained(text, tmp_path / "p", None, (60 * BATCH,))
    with pytest.raises(InputError, match="was not scored"):
        store.items(plain)
    assert [r["recall"] is None for r in rows([first, plain])] == [False, True]


@pytest.mark.parametrize(
    ("change", "words_of_it"),
    [
        ({"status": "done", "reason": "x"}, "items"),
        ({"status": "failed"}, "reason"),
        ({"status": "failed", "reason": "x", "score": 0.5}, "score"),
        ({"status": "gone"}, "gone"),
        ({"status": "done", "items": 3, "score": None, "chance": 0.5}, "score"),
    ],
)
def test_a_record_refuses_scores_that_are_none(text, data, few, tmp_path, change, words_of_it):
    scorer = Suite(ScoreSpec(tasks=("recall",)), text, data)
    with pytest.raises(InputError, match=f"scores.tasks.recall.*{words_of_it}"):
        trained(text, tmp_path, lambda model, config: scorer(model)[0] | {"tasks": {"recall": change}})


@pytest.mark.parametrize("tasks", [("colour",), (), ("recall", "recall")])
def test_tasks_that_are_none_are_refused(tasks):
    with pytest.raises(InputError, match="scores: tasks"):
        ScoreSpec(tasks=tasks)


def test_the_other_corpus_is_the_one_that_is_not_trained_on():
    assert ScoreSpec().other_than("packages").name == "english"
    assert ScoreSpec().other_than("english").name == ScoreSpec().other_than("mine").name == "packages"


def test_the_command_train_scores_and_keeps_the_items(data, few, tmp_path, monkeypatch, made):
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "cache"))
    made.made_text(tmp_path)
    monkeypatch.setattr("moebook.scores.spec.PACKAGES", TextSpec("folder", "none", files=("nothing",)))
    words_of_it = ["train", "--width", "8", "--layers", "1", "--tokens", str(20 * BATCH), "--folder",
                   str(tmp_path / "texts"), "--out", str(tmp_path / "out")]  # fmt: skip
    refused = CliRunner().invoke(app, [*words_of_it, "--data", str(data)])
    assert isinstance(refused.exception, InputError) and "--scores" in str(refused.exception)
    refused = CliRunner().invoke(app, [*words_of_it, "--scores", "--data", str(data / "gone")])
    assert isinstance(refused.exception, InputError) and "no such folder" in str(refused.exception)
    ended = CliRunner().invoke(app, [*words_of_it, "--scores", "--data", str(data)])
    assert ended.exit_code == 0, ended.output
    assert "recall: " in ended.output and "other: not measured: text none" in ended.output
    record = Record.from_json((tmp_path / "out" / "record.json").read_bytes())
    Store(tmp_path / "runs").add(record, items=(tmp_path / "out" / "items.npz").read_bytes())
    assert set(Store(tmp_path / "runs").items(record)) == {"blimp", "wikitext2", "words", "recall"}


def test_the_run_tables_readme_says_what_each_column_of_scores_is():
    readme = (Path(__file__).parents[2] / "runs" / "README.md").read_text()
    for name in SCORE_COLUMNS:
        if not name.endswith("_stderr") and name not in ("recall_1", "recall_4"):
            assert f"`{name}`" in readme


def test_records_from_before_there_were_scores_are_read_and_written_as_they_are():
    paths = sorted((Path(__file__).parents[2] / "runs" / "records").glob("*/*.json"))
    unscored = 0
    for path in paths[::12]:
        record = Record.from_json(path.read_bytes())
        assert record.to_json().encode() == path.read_bytes()
        if not record.scores:
            unscored += 1
            assert all(row(record)[name] is None for name in SCORE_COLUMNS)
    assert unscored
