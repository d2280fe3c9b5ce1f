"""The cache: damage is found, processes do not disturb one another, a full disk leaves nothing behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.text import TextSpec, check_text, load_text

SPEC = TextSpec("folder", "few")


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "texts"
    place.mkdir()
    rows = [json.dumps({"text": f"document {number} " * 200}) + "\n" for number in range(300)]
    (place / "a.jsonl").write_text("".join(rows))
    return place


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def entries(cache):
    return sorted(path.name for path in (cache / "texts").iterdir() if not path.name.endswith(".lock"))


def in_process(code: str, *arguments) -> subprocess.Popen:
    head = (
        "import sys; from pathlib import Path; from moebook.text import *; spec = TextSpec('folder', 'few')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_prepared_once(folder, cache):
    stages = []
    first = load_text(SPEC, folder, cache, progress=lambda *step: stages.append(step))
    assert {stage for stage, _, _ in stages} == {"reading", "writing"}
    assert all(done <= total for _, done, total in stages)
    stages.clear()
    second = load_text(SPEC, folder, cache, progress=lambda *step: stages.append(step))
    assert not stages and second.sha256 == first.sha256 and len(entries(cache)) == 1
    header = json.loads((first.folder / "header.json").read_bytes())["header"]
    streams = {side: sha256_hex(bytes(getattr(first, f"{side}_T"))) for side in ("train", "heldout")}
    assert first.sha256 == header["sha256"] == sha256_hex(canonical_json(streams))


def test_another_process_maps_the_files_itself(folder, cache):
    text = load_text(SPEC, folder, cache)
    sent = pickle.dumps(text)
    assert len(sent) < 1000
    assert bytes(pickle.loads(sent).train_T) == bytes(text.train_T)


def flip(path: Path, keep_time: bool) -> None:
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda place: os.truncate(place / "train.bin", 1000), "train.bin: bytes: 1000"),
        (lambda place: flip(place / "heldout.bin", keep_time=False), "heldout.bin: sha256"),
        (lambda place: flip(place / "header.json", keep_time=True), "header.json"),
        (lambda place: (place / "header.json").write_text("{}"), "header.json: not the header"),
        (lambda place: (place / "train.bin").unlink(), "train.bin: missing"),
        (lambda place: (place / "header.json").unlink(), "header.json: no prepared text"),
    ],
)
def test_damage_is_named_and_made_good(folder, cache, damage, named):
    text = load_text(SPEC, folder, cache)
    good, heldout = bytes(text.train_T), bytes(text.heldout_T)
    damage(text.folder)
    with pytest.raises(InputError) as caught:
        check_text(text)
    assert named in str(caught.value)
    del text
    again = load_text(SPEC, folder, cache)
    assert bytes(again.train_T) == good and bytes(again.heldout_T) == heldout
    check_text(again)
    assert len(entries(cache)) == 1 and len(list(again.folder.iterdir())) == 3


def test_damage_that_leaves_length_and_time_is_found_on_request(folder, cache):
    text = load_text(SPEC, folder, cache)
    good = bytes(text.train_T)
    flip(text.folder / "train.bin", keep_time=True)
    with pytest.raises(InputError, match=r"train\.bin: sha256"):
        check_text(text)
    assert bytes(load_text(SPEC, folder, cache, check=True).train_T) == good


def test_another_text_than_expected_is_refused(folder, cache):
    found = load_text(SPEC, folder, cache).sha256
    assert load_text(TextSpec("folder", "few", sha256=found), folder, cache).sha256 == found
    with pytest.raises(
        InputError, match=f"text few: sha256: {found}: another text than .* expects, {'0' * 64}"
    ):
        load_text(TextSpec("folder", "few", sha256="0" * 64), folder, cache)


SLOWLY = """
    import time
    def slow(what, done, total):
        print(what, flush=True)
        time.sleep(0.01 if what == "writing" else 0.001)
    text = load_text(spec, Path(sys.argv[1]), Path(sys.argv[2]), progress=slow)
    print(text.sha256)
"""


def test_two_processes_at_once_end_with_the_same_text(folder, cache):
    both = [in_process(SLOWLY, folder, cache) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split("\n") for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][-2] == outputs[1][-2] == load_text(SPEC, folder, cache).sha256
    # One prepares; the other waits, or came so late that it found the text.
    assert sum("writing" in output for output in outputs) == 1
    assert len(entries(cache)) == 1


def test_two_processes_without_locks_end_with_the_same_text(folder, cache):
    without = (
        "import moebook.text.load as l, contextlib; l._lock = lambda *a: contextlib.nullcontext(False)\n"
    )
    both = [in_process(without + textwrap.dedent(SLOWLY), folder, cache) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert outputs[0][0].split("\n")[-2] == outputs[1][0].split("\n")[-2]
    assert len(entries(cache)) == 1
    check_text(load_text(SPEC, folder, cache))


@pytest.mark.parametrize("stage", ["reading", "writing"])
def test_a_killed_preparation_is_not_taken_for_a_text(folder, cache, stage):
    process = in_process(SLOWLY, folder, cache)
    for line in process.stdout:
        if line.strip() == stage:
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [name.endswith(".tmp") for name in entries(cache)] == [True]
    text = load_text(SPEC, folder, cache)
    check_text(text)
    assert entries(cache) == [text.folder.name]  # what the killed one left is gone


def test_a_disk_that_fills_is_one_line_and_leaves_nothing(folder, cache):
    pytest.importorskip("resource", reason="needs limits on file size, which this system does not have")
    code = """
        import resource
        from moebook.errors import InputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
        try:
            load_text(spec, Path(sys.argv[1]), Path(sys.argv[2]))
        except InputError as error:
            print(error)
    """
    size = (folder / "a.jsonl").stat().st_size
    for limit in (100, size // 2, int(size * 0.95)):
        process = in_process(code, folder, cache, limit)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.count("\n") == 1
        assert str(cache) in output and "cannot be written: File too large" in output
        assert entries(cache) == []
    check_text(load_text(SPEC, folder, cache))


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file/texts/few-.*: cannot be written: Not a directory"):
        load_text(SPEC, folder, tmp_path / "file")
