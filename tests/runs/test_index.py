"""Rows that are kept are the rows that reading every record gives, whatever happens to records or index."""

import json
import os

import pytest

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.runs import Record, Store, index, load_table, pack_items, read_rows, rows
from moebook.runs.written import read_record

CONFIG = {
    "model": {"width": 32, "layers": 2, "context": 128, "experts": 8, "active": 2, "granularity": 2},
    "recipe": {"learning_rate": 4e-3, "batch_sequences": 4},
    "text": {"name": "english", "sha256": "ab" * 32},
    "tokens": 5120,
}
MEASURES = {
    "params": 70_000, "params_active": 30_000, "params_nonembedding": 54_000, "sparsity": 0.75,
    "params_active_nonembedding": 14_000, "tokens": 5120, "compute_flops": 1.4e9, "flops_per_token": 273408,
    "loss_nats": 2.5, "bits_per_byte": 3.6,
}  # fmt: skip


def record(seed, loss=2.5, text="english", **more):
    config = CONFIG | {"seed": seed, "text": {"name": text, "sha256": "ab" * 32}}
    measures = MEASURES | {"loss_nats": loss}
    curve = {"tokens": [512, 5120], "loss_nats": [5.5, loss]}
    return Record(config, 1, "done", measures, curve=curve, **more)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Thirty records of two texts, old enough to be taken as settled; a few are enough for an index."""
    monkeypatch.setattr(index, "LEAST", 1)
    monkeypatch.setattr(index, "SETTLED_NS", 0)
    made = Store(tmp_path)
    for seed in range(30):
        made.add(record(seed, 2 + seed / 100, "english" if seed % 3 else "packages"))
    return made


@pytest.fixture
def parsed(monkeypatch):
    """The files that were parsed, and not taken from the index."""
    seen = []

    def noted(content, where):
        seen.append(where)
        return read_record(content, where)

    monkeypatch.setattr(index, "read_record", noted)
    return seen


def test_the_rows_are_those_of_the_records_and_are_parsed_once(store, parsed):
    expected = rows(store.load())
    assert read_rows(store) == expected and len(parsed) == 30
    assert read_rows(store) == expected and read_rows(store, problems=[], every_byte=True) == expected
    english = [row for row in expected if row["text"] == "english"]
    assert read_rows(store, "english") == english == rows(store.load("english"))
    assert list(load_table(store.root).key) == [row["key"] for row in expected]
    assert len(parsed) == 30
    assert (store.root / ".cache" / ".gitignore").read_text() == "*\n"


def test_what_was_changed_added_or_removed_is_seen(store):
    read_rows(store)
    first, second, *_ = paths = sorted(store.records.glob("english/*.json"))
    before, old = first.stat(), store.read(first)
    changed = Record(old.config, 1, "done", old.measures | {"loss_nats": 1.75 + old.seed / 1000})
    whole = changed.to_json()
    first.write_text(whole)
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a tool would that keeps times
    second.unlink()
    store.add(record(99, text="third"))
    found = {row["key"]: row["loss_nats"] for row in read_rows(store)}
    assert found[first.stem] == changed.measures["loss_nats"]
    assert second.stem not in found and len(found) == len(paths) + 10
    assert read_rows(store) == rows(store.load())


def test_an_edit_that_keeps_size_and_every_time_is_found_by_the_check(store, monkeypatch):
    """No tool can set the time of change; a disk that rots does not touch it."""
    expected = read_rows(store)
    path = sorted(store.records.glob("english/*.json"))[0]
    untouched = list(index._scan(store.records))
    path.write_text(path.read_text().replace('"loss_nats":2.', '"loss_nats":3.', 1))
    monkeypatch.setattr(index, "_scan", lambda folder: untouched)
    assert read_rows(store) == expected
    problems = []
    assert len(read_rows(store, problems=problems, every_byte=True)) == len(expected) - 1
    assert [problem.path for problem in problems] == [path] and "edited" in problems[0].reason


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (lambda path: path.symlink_to("/nonexistent/x.json"), "a link to a file that is not there"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
        (os.mkfifo, "not a record: is no file"),
        (os.mkdir, "not a record: is no file"),
        (lambda path: path.symlink_to("."), "not a record: is no file"),
    ],
    ids=["dangling link", "link to itself", "pipe", "folder", "link to its folder"],
)
def test_what_is_no_file_is_said_and_not_passed_over(store, put, says):
    path = store.path(record(4))
    path.unlink()
    put(path)
    problems = []
    assert len(read_rows(store, problems=problems)) == 29
    assert [(problem.path, problem.reason) for problem in problems] == [(path, says)]
    with pytest.raises(InputError, match=f"^{path}: "):
        read_rows(store)


def test_a_damaged_record_is_refused_each_time(store):
    read_rows(store)
    path = sorted(store.records.glob("english/*.json"))[0]
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(InputError, match=path.name):
            read_rows(store)
        problems = []
        assert len(read_rows(store, problems=problems)) == 29 and problems[0].path == path
    writing = path.with_name(f".{path.name}.k3.tmp")
    path.rename(writing)  # as another process writes it
    assert len(read_rows(store)) == 29
    problems = []
    read_rows(store, problems=problems)
    assert [problem.path for problem in problems] == [writing]


@pytest.mark.parametrize("damage", ["", "nothing", "version", "loss"])
def test_a_damaged_or_older_index_is_made_anew(store, parsed, damage):
    expected = read_rows(store)
    path = store.root / ".cache" / "rows.json"
    _, content = path.read_text().split("\n", 1)
    kept = json.loads(content)
    if damage == "version":
        content = json.dumps(kept | {"version": "older"})
        content = f"{sha256_hex(content)}\n{content}"
    elif damage == "loss":
        content = path.read_text().replace("2.01", "1.01", 1)
    else:
        content = damage
    path.write_text(content)
    parsed.clear()
    assert read_rows(store) == expected and len(parsed) == 30
    assert read_rows(store) == expected and len(parsed) == 30


def test_a_file_changed_a_moment_ago_is_not_yet_believed_untouched(store, parsed, monkeypatch):
    monkeypatch.setattr(index, "SETTLED_NS", 3600 * 10**9)
    read_rows(store)
    found = index._load(store.root / ".cache" / "rows.json")
    assert {entry.stat[0] for entry in found.values()} == {-1}
    parsed.clear()
    assert len(read_rows(store)) == 30 and not parsed  # read again, and the same bytes


def test_a_folder_only_for_reading_and_a_small_store_do_without(store, monkeypatch):
    def refuse(path, content):
        raise InputError(f"{path}: cannot be written: read-only")

    monkeypatch.setattr(index, "write_atomic", refuse)
    assert len(read_rows(store)) == 30
    monkeypatch.undo()
    assert len(read_rows(store)) == 30 and not (store.root / ".cache").exists()


def test_items_of_scored_runs_are_checked_too(store):
    numpy = pytest.importorskip("numpy")
    content, said = pack_items({"blimp": numpy.zeros(4, "float16")})
    tasks = {"blimp": {"status": "failed", "reason": "no such file"}}
    scores = {"version": 1, "tasks": tasks, "items": said}
    scored = store.add(record(7, text="scored", scores=scores), items=content)
    assert store.check() == []
    path = store.root / "items" / "scored" / f"{scored.key}.npz"
    path.write_bytes(content[:-1] + b"x")
    problems = []
    assert len(read_rows(store, problems=problems, every_byte=True)) == 31
    assert [problem.path for problem in problems] == [path]


def test_the_fast_reading_takes_and_refuses_what_the_slow_one_does():
    made = record(3, 2.25)
    written = made.to_json().encode()
    assert read_record(written, "f") == Record.from_json(written, "f") == made
    again = read_record(written, "f")
    assert again.key == made.key and again.to_json() == written.decode()
    other_layout = canonical_json(json.loads(written)).encode()
    assert read_record(other_layout, "f") == made
    for old, new in (
        ('"loss_nats":2.25', '"loss_nats":2.24'), ('"seed":3', '"seed":4'), ('"format":1', '"format":2'),
        ('"status":"done"', '"status":"gone"'), ("\n}\n", "\n"), ('"study":""', '"study":"", "x":1'),
        ("2.25]", "NaN]"),
    ):  # fmt: skip
        bad = written.decode().replace(old, new).encode()
        assert bad != written
        for read in (read_record, Record.from_json):
            with pytest.raises(InputError, match="^f: "):
                read(bad, "f")


@pytest.mark.slow
def test_ten_thousand_records_are_parsed_once_and_then_listed_and_checked_without(tmp_path, monkeypatch):
    from benchmarks.store import make_store, measure

    parsed = []
    monkeypatch.setattr(index, "read_record", lambda *given: parsed.append(given[1]) or read_record(*given))
    found = [measure(make_store(tmp_path / str(size), size)) for size in (1_000, 10_000)]
    assert len(parsed) == len(set(parsed)) == 11_000
    small, large = (each["cpu_seconds"] for each in found)
    assert large["rows"] < large["first_rows"] / 2
    assert all(large[step] < 30 * small[step] for step in ("read_all", "check", "rows"))
