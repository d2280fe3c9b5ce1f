"""The record refuses what is no run; the store keeps what it was given and finds what was tampered with."""

import errno
import fcntl
import json
import multiprocessing
import time

import pytest
from typer.testing import CliRunner

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.runs import COLUMNS, Record, Store, load_table, run_key

CONFIG = {
    "model": {"width": 32, "layers": 2, "context": 128, "experts": 8, "active": 2, "granularity": 2},
    "recipe": {"learning_rate": 4e-3, "batch_sequences": 4},
    "text": {"name": "english", "sha256": "ab" * 32},
    "tokens": 5120,
    "seed": 0,
}
MEASURES = {
    "params": 70_000, "params_active": 30_000, "params_nonembedding": 54_000, "sparsity": 0.75,
    "params_active_nonembedding": 14_000, "tokens": 5120, "compute_flops": 1.4e9, "flops_per_token": 273408,
    "loss_nats": 2.5, "loss_stderr_nats": 0.01, "bits_per_byte": 3.6,
}  # fmt: skip


def record(seed=0, status="done", **changes):
    lost = {"loss_nats": None, "loss_stderr_nats": None, "bits_per_byte": None}
    values = {
        "config": CONFIG | {"seed": seed}, "numerics": 1, "status": status, "study": "quick",
        "measures": MEASURES | ({} if status == "done" else lost),
        "reason": "" if status == "done" else "loss is not finite at step 7",
        "curve": {"tokens": [512, 5120], "loss_nats": [5.5, 2.6]},
        "cost": {"wall_seconds": 4.0, "tokens_per_second": 1280.0}, "environment": {"device": "cpu"},
    }  # fmt: skip
    return Record(**(values | changes))


def test_a_record_survives_json_and_its_key_is_the_hash_of_what_decides_the_run():
    made = record()
    assert Record.from_json(made.to_json()) == made
    expected = sha256_hex(canonical_json({"config": CONFIG, "numerics": 1}))[:16]
    assert made.key == expected == run_key(dict(reversed(CONFIG.items())), 1)
    assert record(cost={"wall_seconds": 9.0}).key == made.key
    keys = {made.key, record(seed=1).key, record(numerics=2).key}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measures": MEASURES | {"loss_nats": float("nan")}}, "measures"),
        ({"measures": MEASURES | {"loss_nats": -1.0}}, "measures.loss_nats: -1.0"),
        ({"measures": MEASURES | {"params": 0}}, "measures.params: 0"),
        ({"measures": MEASURES | {"tokens": 5121}}, "measures.tokens: 5121"),
        ({"measures": {k: v for k, v in MEASURES.items() if k != "loss_nats"}}, "measures.loss_nats: None"),
        ({"status": "diverged", "reason": "step 3", "measures": MEASURES}, "measures.loss_nats: 2.5"),
        ({"status": "failed", "reason": "", "measures": {}}, "reason: ''"),
        ({"measures": MEASURES | {"load_by_layer": [1.0, "x"]}}, "measures.load_by_layer: [1.0, 'x']"),
        ({"measures": MEASURES | {"load_largest": [1.0]}}, "measures.load_largest: [1.0]"),
        ({"cost": {"wall_seconds": [1.0]}}, "cost.wall_seconds: [1.0]"),
        ({"status": "gone"}, "status: 'gone'"),
        ({"config": CONFIG | {"tokens": 0}}, "config.tokens: 0"),
        ({"config": {k: v for k, v in CONFIG.items() if k != "seed"}}, "config"),
        ({"config": CONFIG | {"model": CONFIG["model"] | {"experts": 2.5}}}, "config.model.experts: 2.5"),
        ({"config": CONFIG | {"recipe": {"learning_rate": "fast"}}}, "config.recipe.learning_rate: 'fast'"),
        ({"config": CONFIG | {"recipe": {"learning_rate": 0}}}, "config.recipe.learning_rate: 0"),
        ({"config": CONFIG | {"recipe": {"batch_sequences": -4}}}, "config.recipe.batch_sequences: -4"),
        ({"config": CONFIG | {"tokens": 2**63}}, f"config.tokens: {2**63}"),
        ({"measures": MEASURES | {"params": 10**400}}, "measures.params: 1000"),
        ({"curve": {"tokens": [512, 1024], "loss_nats": [5.5]}}, "curve: "),
        ({"curve": {"tokens": 3, "loss_nats": [5.5]}}, "curve: "),
        ({"curve": {"tokens": [512], "loss_nats": ["much"]}}, "curve: "),
        ({"history": "earlier"}, "history: 'earlier'"),
        ({"history": 5}, "history: 5"),
        ({"history": [3]}, "history: (3,)"),
        ({"purpose": "done"}, "purpose: 'done': must be a word, and none of the statuses"),
        ({"purpose": "to tune"}, "purpose: 'to tune'"),
        ({"config": CONFIG | {"text": {"name": "../x", "sha256": "a"}}}, "config.text.name: '../x'"),
    ],
)
def test_a_record_that_is_no_run_is_refused_with_field_and_value(change, words):
    with pytest.raises(InputError, match=r"^record: ") as caught:
        record(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_measure_may_be_a_number_for_each_layer():
    measures = MEASURES | {"load_largest_by_layer": [1.25, 1.5]}
    assert Record.from_json(record(measures=measures).to_json()).measures == measures


def test_a_loss_from_one_document_has_no_standard_error():
    assert record(measures=MEASURES | {"loss_stderr_nats": None}).done


def test_adding_twice_changes_nothing_and_a_done_run_is_never_replaced(tmp_path):
    store = Store(tmp_path)
    first = store.add(record())
    before = store.path(first).read_bytes()
    assert store.add(record()) == first
    again = store.add(record(measures=MEASURES | {"loss_nats": 9.0}), retry=True)
    assert again == first and store.path(first).read_bytes() == before
    assert store.get(first.key) == store.get(first.key[:6]) == first
    assert store.get("0" * 16) is None


def test_a_diverged_run_is_replaced_only_by_a_retry_which_keeps_its_history(tmp_path):
    store = Store(tmp_path)
    diverged = store.add(record(status="diverged"))
    assert store.add(record(status="diverged")) == diverged
    with pytest.raises(InputError, match="retried"):
        store.add(record())
    assert store.get(diverged.key) == diverged
    store.add(record(status="failed", reason="KeyError: 'x'"), retry=True)
    done = store.add(record(), retry=True)
    assert store.get(done.key) == done and done.done
    assert [attempt["status"] for attempt in done.history] == ["diverged", "failed"]
    assert store.check() == []


def _edit(path, **fields):
    path.write_text(canonical_json(json.loads(path.read_text()) | fields))


def test_check_names_each_damaged_file_and_why_and_load_refuses_it(tmp_path):
    store = Store(tmp_path)
    paths = [store.path(store.add(record(seed=seed))) for seed in range(9)]
    assert store.check() == []

    whole = paths[0].read_text()
    paths[0].write_text(whole[: len(whole) // 2])
    paths[1].write_text(paths[1].read_text().replace('"loss_nats":2.5', '"loss_nats":2.4'))
    misnamed = paths[2].rename(paths[2].with_name("0123456789abcdef.json"))
    content = json.loads(paths[3].read_text())  # the configuration edited, and the checksum made to fit
    content["config"]["seed"] = 77
    content.pop("sha256")
    paths[3].write_text(canonical_json(content | {"sha256": sha256_hex(canonical_json(content))}))
    _edit(paths[4], format=2)
    paths[5].write_bytes(b"\xff\xfe\x00")
    paths[8].write_text("[" * 100_000)
    elsewhere = tmp_path / "records" / "packages" / paths[6].name
    elsewhere.parent.mkdir()
    paths[6].rename(elsewhere)
    foreign = tmp_path / "records" / "english" / "notes.txt"
    foreign.write_text("hello")
    cut_off = tmp_path / "records" / "english" / f".{paths[7].name}.k3.tmp"
    cut_off.write_text("{")

    found = {problem.path: problem.reason for problem in store.check()}
    expected = {
        paths[0]: "half-written", paths[1]: "edited", misnamed: "misnamed", paths[3]: "key",
        paths[4]: "only format 1", paths[5]: "half-written or not JSON",
        paths[8]: "half-written or not JSON", elsewhere: "misplaced", foreign: "not a record",
        cut_off: "cut off",
    }  # fmt: skip
    assert set(found) == set(expected)
    for path, word in expected.items():
        assert word in found[path]
    with pytest.raises(InputError) as caught:
        store.load()
    assert any(str(path) in str(caught.value) for path in expected)
    problems = []
    assert [r.seed for r in store.load(problems=problems)] == [7] and len(problems) == len(expected)


def test_a_damaged_record_is_not_overwritten_by_a_new_one(tmp_path):
    store = Store(tmp_path)
    path = store.path(store.add(record()))
    path.write_text("{")
    with pytest.raises(InputError, match=path.name):
        store.add(record())
    assert path.read_text() == "{"


def _add_many(root):
    for seed in range(20):
        Store(root).add(record(seed=seed))


def test_processes_that_add_the_same_records_at_once_leave_each_once_and_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_many, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(Store(tmp_path).load()) == 20 and Store(tmp_path).check() == []


def test_a_file_system_without_locks_takes_records_too(tmp_path, monkeypatch):
    def none(handle, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    Store(tmp_path).add(one := record())
    assert [found.key for found in Store(tmp_path).load()] == [one.key]


def test_the_table_has_every_run_with_its_columns(tmp_path):
    store = Store(tmp_path)
    store.add(record(seed=1))
    store.add(record(seed=2, status="diverged"))
    table = load_table(tmp_path)
    assert tuple(table.columns) == COLUMNS
    done, diverged = table.to_dict("records")
    assert (done["experts"], done["active"], done["batch_tokens"], done["device"]) == (8, 2, 512, "cpu")
    assert done["shared_experts"] == 0
    assert done["loss_nats"] == 2.5 and diverged["loss_nats"] != diverged["loss_nats"]
    assert diverged["status"] == "diverged" and "step 7" in diverged["reason"]
    assert str(table["tokens"].dtype) == str(table["params"].dtype) == "int64"
    assert len(load_table(tmp_path, text="packages")) == 0


def test_a_thousand_records_load_quickly(tmp_path):
    folder = tmp_path / "records" / "english"
    folder.mkdir(parents=True)
    curve = {"tokens": list(range(64)), "loss_nats": [2.5] * 64}
    for seed in range(1000):
        made = record(seed=seed, curve=curve)
        (folder / f"{made.key}.json").write_text(made.to_json())
    start = time.process_time()
    assert len(Store(tmp_path).load()) == 1000
    assert time.process_time() - start < 5


@pytest.fixture
def command():
    import typer

    from moebook.cli.runs import register

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return lambda *words: CliRunner().invoke(app, ["runs", *map(str, words)])


def test_the_commands_list_show_export_and_check(tmp_path, command):
    pandas = pytest.importorskip("pandas")
    store = Store(tmp_path)
    done, diverged = store.add(record(seed=1)), store.add(record(seed=2, status="diverged"))
    rows = json.loads(command("list", "--runs", tmp_path, "--json").output)
    assert {row["key"] for row in rows} == {done.key, diverged.key}
    listed = command("list", "--runs", tmp_path, "--status", "diverged").output
    assert diverged.key[:8] in listed and done.key[:8] not in listed
    assert json.loads(command("show", done.key, "--runs", tmp_path, "--json").output) == done.to_dict()
    for name, read in (("t.csv", pandas.read_csv), ("t.parquet", pandas.read_parquet)):
        assert command("table", "--runs", tmp_path, "--out", tmp_path / name).exit_code == 0
        assert list(read(tmp_path / name)["key"]) == list(load_table(tmp_path)["key"])
    refused = command("table", "--runs", tmp_path, "--out", tmp_path / "t.xlsx")
    assert isinstance(refused.exception, InputError) and not (tmp_path / "t.xlsx").exists()
    text = done.text
    assert len(json.loads(command("list", "--runs", tmp_path, "--text", text, "--json").output)) == 2
    for option, name in (("--text", text), ("--study", done.study)):
        unknown = command("table", "--runs", tmp_path, option, f"{name}x", "--out", tmp_path / "u.csv")
        assert isinstance(unknown.exception, InputError) and not (tmp_path / "u.csv").exists()
        assert f"{option}: '{name}x': no such run" in str(unknown.exception)
        assert f"there are {name}" in str(unknown.exception)

    assert command("check", "--runs", tmp_path).exit_code == 0
    store.path(done).write_text("{")
    checked = command("check", "--runs", tmp_path)
    assert checked.exit_code == 1 and str(store.path(done)) in checked.output
    assert isinstance(command("list", "--runs", tmp_path).exception, InputError)


def test_a_list_says_what_runs_are_for_and_can_keep_to_it(tmp_path, command):
    plain, aside = (Store(tmp_path).add(record(seed=i, purpose=p)) for i, p in ((1, ""), (2, "tuning")))
    whole = command("list", "--runs", tmp_path).output
    assert whole.count(" tuning ") == 1 and "2 runs, 1 of them with a purpose" in whole
    for purpose, kept in (("", plain), ("tuning", aside)):
        rows = json.loads(command("list", "--runs", tmp_path, "--purpose", purpose, "--json").output)
        assert [row["key"] for row in rows] == [kept.key]
    refused = command("list", "--runs", tmp_path, "--purpose", "held-out").exception
    assert "--purpose: 'held-out': no such run" in str(refused) and "there are tuning" in str(refused)


def test_a_list_of_thousands_is_whole_and_quick(tmp_path, command):
    """Rich would take most of a minute over as many."""
    folder = tmp_path / "records" / "english"
    folder.mkdir(parents=True)
    keys = []
    for seed in range(2500):
        made = record(seed=seed)
        (folder / f"{made.key}.json").write_text(made.to_json())
        keys.append(made.key[:8])
    start = time.process_time()
    lines = command("list", "--runs", tmp_path).output.splitlines()
    assert time.process_time() - start < 10
    head, _, *listed, caption = lines
    assert {line.split()[0] for line in listed} == set(keys) and caption.startswith("2500 runs")
    assert head.split()[:4] == ["key", "text", "purpose", "C"] and len({len(line) for line in listed}) == 1
