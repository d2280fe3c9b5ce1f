"""Scores on the items that all runs have, from records with files of items, and from tables of others."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moebook.downstream import SCORES, common_scores, read_scores
from moebook.errors import InputError
from moebook.runs import Store, load_table, pack_items

TASKS = {"blimp": 64, "wikitext2": 16, "other": 16, "words": 32, "recall": 64}


def scores_of(rng, multiple, pool="ab" * 8):
    """A record's section and its items: the first part hard, what only larger models are asked easy."""
    tasks, items = {}, {}
    for name, count in TASKS.items():
        n = count * multiple
        if name in ("wikitext2", "other"):
            items[name] = rng.normal(300, 20, n).astype(np.float32)
            score = float(items[name].astype(float).mean() / 128 / np.log(2))
        else:
            margin = rng.normal(0, 1, n) + np.where(np.arange(n) >= count, 9, 0)
            items[name] = margin.astype(np.float16)
            score = float((items[name] > 0).mean())
        tasks[name] = {"status": "done", "score": score, "stderr": 0.01, "items": n, "chance": 0.5,
                       "unit": "share right", "pool": pool}  # fmt: skip
    content, identity = pack_items(items)
    return (
        {"version": 1, "multiple": multiple, "tasks": tasks, "seconds": 1.0, "items": identity},
        content,
        items,
    )


@pytest.fixture
def store(tmp_path, make_records):
    """Made-up runs, all scored; the widest on twice the items. Returns the store and {key: items}."""
    made, scored, rng, items = tmp_path / "made", Store(tmp_path / "runs"), np.random.default_rng(0), {}
    for record in make_records(made):
        if record.done:
            section, content, items[record.key] = scores_of(rng, 2 if record.model["width"] >= 32 else 1)
            scored.add(replace(record, scores=section), items=content)
    return scored, items


def test_larger_models_count_on_the_questions_that_all_were_asked(store):
    store, items = store
    found = common_scores(store, load_table(store.root))
    assert len(found.runs) == len(items) and set(found.items) == {score.name for score in SCORES}
    for i, key in enumerate(found.runs["key"]):
        words, windows = items[key]["words"][:32], items[key]["wikitext2"][:16].astype(float)
        assert found.runs["words_seen"][i] == pytest.approx(np.mean(words[0::2] > 0))
        assert found.runs["words_unseen"][i] == pytest.approx(np.mean(words[1::2] > 0))
        assert found.runs["wikitext2_bits"][i] == pytest.approx(windows.mean() / 128 / np.log(2))
        assert found.items["blimp"][i].mean() == pytest.approx(np.mean(items[key]["blimp"][:64] > 0))
    wide = (found.runs["width"] >= 32).to_numpy()
    # What only they were asked is easy: it would lift them by .3.
    assert abs(found.runs["blimp"][wide].mean() - found.runs["blimp"][~wide].mean()) < 0.05


def test_a_task_of_other_questions_or_a_failed_one_is_left_out(store):
    store, _ = store
    for record in store.load()[:1]:
        tasks = json.loads(json.dumps(record.scores["tasks"]))
        tasks["words"]["pool"] = "cd" * 8
        tasks["blimp"] = {"status": "failed", "reason": "no"}
        path = store.path(record)
        path.write_text(replace(record, scores=record.scores | {"tasks": tasks}).to_json())
    found = common_scores(store, load_table(store.root))
    assert set(found.items) == {"wikitext2_bits", "other_bits", "recall"}
    assert found.runs["words_seen"].isna().all() and found.runs["recall"].notna().all()
    runs = len(found.runs)
    assert f"words: not compared: 1 of {runs} runs were asked other questions, as {record.key}" in found.notes
    assert f"blimp: not compared: 1 of {runs} runs have no result, as {record.key}" in found.notes


def test_runs_without_scores_and_two_texts_are_refused(store, tmp_path, make_records):
    plain = tmp_path / "plain"
    make_records(plain)
    with pytest.raises(InputError, match="no run of these is scored"):
        common_scores(Store(plain), load_table(plain))
    make_records(plain, text="other")
    with pytest.raises(InputError, match="text: other, packages: losses of two texts"):
        common_scores(Store(plain), load_table(plain))


def test_items_that_are_not_the_records_are_refused(store):
    store, items = store
    key = next(iter(items))
    path = store.root / "items" / "packages" / f"{key}.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=f"{key}.npz: sha256"):
        common_scores(store, load_table(store.root))


def test_the_committed_scores_are_those_of_their_items():
    """The runs of fewest items have all of them in common: theirs must be the stored score."""
    from pathlib import Path

    runs = Path(__file__).resolve().parents[2] / "runs"
    table = load_table(runs, "english")
    found = common_scores(Store(runs), table[table["purpose"] == ""])
    stored = table.set_index("key").loc[found.runs["key"]]
    narrow = (found.runs["width"] <= 32).to_numpy()
    for score in SCORES:
        ours, theirs = found.runs[score.name].to_numpy()[narrow], stored[score.name].to_numpy()[narrow]
        assert ours == pytest.approx(theirs, abs=0.02 if score.name.endswith("bits") else 1e-12), score.name


def table(**changes):
    rng = np.random.default_rng(1)
    values = {
        "val_loss": rng.uniform(2, 3, 30),
        "num_experts": np.tile([1, 8, 64], 10),
        "top_k": 1,
        "d_model": np.repeat([64, 128, 256], 10),
        "mmlu": rng.uniform(0.2, 0.4, 30),
    }
    return pd.DataFrame(values | changes)


def test_a_table_of_somebodys_own_is_read_by_its_names(tmp_path):
    path = tmp_path / "mine.csv"
    table().to_csv(path, index=False)
    found = read_scores(path, scores=["mmlu"], names={"width": "d_model"})
    assert found.items == {} and list(found.runs["sparsity"][:3]) == [0, 1 - 1 / 8, 1 - 1 / 64]
    assert found.runs["width"].tolist() == table()["d_model"].tolist()
    assert found.runs["loss_nats"].to_numpy() == pytest.approx(table()["val_loss"].to_numpy())


@pytest.mark.parametrize("changes, scores, names, says", [
    ({}, [], {}, "--score: missing: which columns are scores"),
    ({}, ["arc"], {}, "--score: arc: no such column"),
    ({}, ["val_loss"], {}, "--score: val_loss: is the loss"),
    ({"mmlu": "good"}, ["mmlu"], {}, "row 1: mmlu: 'good' is text: must be a number"),
    ({"val_loss": ["", *["2.5"] * 29]}, ["mmlu"], {}, "row 1: val_loss: is blank"),
    ({"top_k": 0}, ["mmlu"], {}, "row 1: sparsity: 1: must lie in"),
    ({}, ["mmlu"], {"widht": "d_model"}, "--columns: widht: is read by no score"),
    ({}, ["mmlu"], {"width": "depth"}, "depth: no such column for width"),
])  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_by_name(changes, scores, names, says, tmp_path):
    path = tmp_path / "mine.csv"
    table(**changes).to_csv(path, index=False)
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        read_scores(path, scores=scores, names=names)


def test_what_was_read_and_left_out_is_said(tmp_path):
    path = tmp_path / "mine.csv"
    mine = table(seed=["", *["3"] * 29], mmlu=["", "", *["0.3"] * 28], arc=np.linspace(0, 1, 30))
    mine = pd.concat([mine, mine.tail(2)])
    mine.assign(status=["finished"] * 31 + ["crashed"]).to_csv(path, index=False)
    found = read_scores(path, scores=["mmlu", "arc"])
    assert found.notes[0] == f"{path}: 31 runs, 1 crashed left out"
    assert "experts <- num_experts: 1 to 64, 3 values" in found.notes
    assert "active <- top_k: 1, the same in every row" in found.notes
    assert "seed: is blank in 1 runs, so it is not used as their seed" in found.notes
    assert "seed" not in found.runs
    assert "mmlu: 2 runs without it are left out" in found.notes
    assert found.notes[-1] == "warning: 1 rows repeat the numbers of others: copied runs count twice"


def test_names_of_columns_are_for_tables_alone(store):
    with pytest.raises(InputError, match="--columns: is for a table of yours"):
        read_scores(store[0].root, names={"loss": "loss_nats"})
