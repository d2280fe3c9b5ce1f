"""The commands as a shell sees them: exit codes, one-line errors, nothing written."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from moebook.cli import VERBS

ROOT = Path(__file__).parents[2]


def moebook(*words, **more):
    return subprocess.run([sys.executable, "-m", "moebook", *words], capture_output=True, text=True, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of text, and one too short to train on."""
    root = tmp_path_factory.mktemp("texts")
    (root / "plain").mkdir()
    rows = (json.dumps({"text": " ".join(str(n * n) for n in range(i, i + 50))}) for i in range(200))
    (root / "plain" / "squares.jsonl").write_text("\n".join(rows))
    (root / "short").mkdir()
    (root / "short" / "a.txt").write_text("a few words")
    (root / "short" / "b.txt").write_text("a few more")
    return root


def test_help_lists_every_verb_and_loads_no_heavy_library():
    done = moebook("--help")
    assert done.returncode == 0
    assert all(f" {verb} " in done.stdout for verb in VERBS)
    heavy = "import sys, moebook.cli; print({'torch', 'pymc', 'pandas', 'arviz'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches_with_an_example(verb):
    done = moebook(verb, "--help")
    assert done.returncode == 0
    grouped = "Commands" in done.stdout
    assert grouped or "Example: moebook " in " ".join(done.stdout.split())


@pytest.mark.parametrize("words, message", [
    (["--sparsity", "0.5", "--active", "2"], "--compute, --tokens: give one of the two"),
    (["--compute", "-1"], "--compute: -1.0: must be a positive number"),
    (["--compute", "nan"], "--compute: nan: must be a positive number"),
    (["--tokens", "100"], "--tokens: 100: must be a multiple of a batch, 512 tokens"),
    (["--sparsity", "0.3", "--compute", "1e9"], "sparsity: 0.3"),
    (["--sparsity", "1", "--compute", "1e9"], "sparsity: 1.0: must lie in [0, 1)"),
    (["--width", "15", "--compute", "1e9"], "width: 15"),
    (["--compute", "1e9", "--learning-rate", "0"], "learning_rate: 0.0: must be positive"),
    (["--compute", "1e9", "--balance", "hope"], "--balance: 'hope': must be loss or bias"),
    (["--compute", "1e9", "--query-key-scale", "-1"], "query_key_scale: -1.0: must be positive"),
    (["--compute", "1e9", "--folder", "missing"], "missing"),
])  # fmt: skip
def test_train_refuses_bad_input_in_one_line_and_writes_nothing(words, message, tmp_path):
    done = moebook("train", *words, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_corpus_shorter_than_one_batch_is_refused(folder, tmp_path):
    words = ["train", "--compute", "1e9", "--folder", str(folder / "short"), "--out", "out"]
    done = moebook(*words, cwd=tmp_path)
    assert done.returncode == 2 and "shorter than one batch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_train_ends_with_a_record_and_a_model(folder, tmp_path):
    words = ["train", "--width", "16", "--tokens", "20480", "--folder", str(folder / "plain"), "--out", "out"]
    done = moebook(*words, "--sparsity", "0.75", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "done" and record["measures"]["sparsity"] == 0.75
    assert json.loads((tmp_path / "out" / "record.json").read_text()) == record
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 4 * record["measures"]["params"]
    assert str(tmp_path) not in (tmp_path / "out" / "record.json").read_text()


def test_train_takes_the_options_of_model_and_recipe(folder, tmp_path):
    words = ["train", "--width", "8", "--tokens", "5120", "--folder", str(folder / "plain"), "--out", "out"]
    options = ["--sparsity", "0.75", "--active", "1", "--shared-experts", "1", "--balance", "bias"]
    done = moebook(*words, *options, "--query-key-scale", "0.3", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)["config"]
    assert (config["model"]["experts"], config["model"]["shared_experts"]) == (4, 1)
    found = [config["recipe"][name] for name in ("balance_weight", "bias_rate", "query_key_scale")]
    assert found == [0, 1e-3, 0.3]
    plain = moebook(*words[:-1], "plain", "--json", cwd=tmp_path)
    assert "bias_rate" not in plain.stdout and "shared_experts" not in plain.stdout


def test_a_finished_run_or_a_strangers_file_is_not_overwritten(folder, tmp_path):
    words = ["train", "--width", "8", "--folder", str(folder / "plain"), "--out", "out"]
    assert moebook(*words, "--tokens", "5120", cwd=tmp_path).returncode == 0
    before = (tmp_path / "out" / "record.json").read_bytes()
    other = moebook(*words, "--tokens", "10240", cwd=tmp_path)
    assert other.returncode == 2 and "holds another run" in other.stderr
    assert (tmp_path / "out" / "record.json").read_bytes() == before
    for content in (b"mine", b"\xff\xfe mine"):
        (tmp_path / "out" / "record.json").write_bytes(content)
        again = moebook(*words, "--tokens", "5120", cwd=tmp_path)
        assert again.returncode == 2 and again.stderr.startswith("error: out/record.json: ")
        assert (tmp_path / "out" / "record.json").read_bytes() == content


@pytest.mark.parametrize("words", [
    ["train", "--tokens", "512", "--out", "/dev/null/x"],
    ["study", "run", "quick", "--only", "width=8", "--runs", "/dev/null/x"],
])  # fmt: skip
def test_a_place_that_cannot_be_written_is_refused_before_the_work(words):
    done = moebook(*words)
    assert done.returncode == 2 and "/dev/null/x: cannot be written: /dev/null is not a folder" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_finds_no_room_or_no_reader_ends_in_a_line(tmp_path):
    command = f"{shlex.quote(sys.executable)} -m moebook study plan quick --json"
    full = subprocess.run(["sh", "-c", f"{command} > /dev/full"], capture_output=True, text=True)
    *_, last = full.stderr.splitlines()  # a cold cache shows its bars before
    assert full.returncode == 2 and last == "error: output: No space left on device"
    script = f"{command} | true; echo ${{PIPESTATUS[0]}}"  # true is gone before anything is written
    left = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert left.stdout == "1\n" and "Traceback" not in left.stderr and "BrokenPipe" not in left.stderr
    closed = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize("words, says", [
    (["study", "plan", 300 * "a"], "aaa.yml: no such study"),
    (["study", "plan", "quick", "--runs", "README.md"], "error: --runs: README.md: is no folder"),
    (["study", "plan", "quick", "--out", "README.md"], "error: --out: README.md: must end in .csv"),
])  # fmt: skip
def test_a_study_is_not_sought_or_written_where_it_cannot_be(words, says):
    done = moebook(*words, cwd=ROOT)
    assert done.returncode == 2 and says in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.parametrize("words, says", [
    (["study", "plan", "quick", "--only", "budget=7"], "--only: budget=7: no cell"),
    (["book", "build", "--out", "/dev/null/x"], "/dev/null/x/_build: cannot be written"),
])  # fmt: skip
def test_a_refusal_after_work_has_begun_is_one_line_too(words, says):
    done = moebook(*words)
    *work, last = done.stderr.splitlines()  # of the work that had begun, a cold cache shows its bars
    assert done.returncode == 2 and says in last and last.startswith("error: ")
    assert not any("error" in line or "Traceback" in line for line in work)


@pytest.mark.parametrize("words", [["--compute", "1e-300"], ["--compute", "1e12", "--params", "1e30"]])
def test_an_optimum_beyond_all_sense_is_refused(words):
    done = moebook("optimum", *words)
    assert done.returncode == 2 and "must lie between" in done.stderr and done.stderr.count("\n") == 1


def test_lines_that_are_no_rows_are_refused(tmp_path):
    (tmp_path / "lines.jsonl").write_text("[1,2]\n3\n")
    done = moebook("fit", "lines.jsonl", "--law", "chinchilla", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: lines.jsonl: ")
    assert not (tmp_path / "out").exists()


def test_a_diverging_run_is_said_to_diverge_with_its_step(folder, tmp_path):
    words = ["train", "--width", "16", "--tokens", "20480", "--folder", str(folder / "plain"), "--out", "out"]
    done = moebook(*words, "--learning-rate", "1e30", cwd=tmp_path)
    assert done.returncode == 1 and "diverged" in done.stderr and "at step" in done.stderr
    assert json.loads((tmp_path / "out" / "record.json").read_text())["status"] == "diverged"
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("words, says", [
    (["fit"], "error: fit: Missing argument"),
    (["fit", "runs.csv", "--laws", "abnar"], "error: fit: No such option: --laws"),
    (["fit", "runs.csv", "--out", "x", "--draws", "10000000000"], "error: fit: Invalid value for '--draws'"),
    (["fit", "runs.csv", "--out", "x", "--seed", str(2**63)], "error: fit: Invalid value for '--seed'"),
    (["optimum", "--compute", "much"], "error: optimum: Invalid value for '--compute'"),
    (["runs", "show"], "error: runs show: Missing argument"),
    (["guess"], "error: No such command 'guess'; see moebook --help"),
])  # fmt: skip
def test_a_wrong_command_line_is_refused_in_one_line(words, says):
    done = moebook(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(says) and "--help" in done.stderr and done.stderr.count("\n") == 1


def test_a_group_of_verbs_alone_shows_its_help():
    done = moebook("runs")
    assert done.returncode == 2 and "list" in done.stdout + done.stderr and "error" not in done.stderr


def test_a_name_that_breaks_lines_or_drives_a_terminal_is_spelt_out(tmp_path):
    """One line, and no control character of a file's name reaches the screen."""
    table = tmp_path / "a\nb\x1b[31m é.csv"
    table.write_text("params,tokens,loss\n1,2,x\n")
    done = moebook("fit", str(table), "--law", "chinchilla", "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
    assert r"a\nb\x1b[31m é.csv" in done.stderr
