"""A model shared out among two real processes is trained as by one: losses, weights, checkpoints, record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from moebook.errors import InputError
from moebook.train import start_processes

PROGRAM = Path(__file__).with_name("sharded.py")
STEPS = 50


def torchrun(processes, *words, **options):
    """Run a program under torchrun, on a port of its own choosing."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [*start, *map(str, words)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, **options)


def take_steps(folder, name, out, first, steps, processes):
    words = (folder, name, out, first, steps)
    if processes == 1:
        line = [sys.executable, str(PROGRAM), *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    else:
        done = torchrun(processes, PROGRAM, *words, "--shard")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / "losses.json").read_text()), load_file(out / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stretches"),
    [
        ("dense", [(STEPS, 2)]),
        ("sparse", [(20, 2), (STEPS, 2)]),  # goes on from its own checkpoint
        ("biased", [(20, 1), (35, 2), (STEPS, 1)]),  # and from that of another number of processes
    ],
)
def test_two_processes_train_what_one_does(made, tmp_path, name, stretches):
    made.made_text(tmp_path)
    one, whole = take_steps(tmp_path, name, tmp_path / "one", 0, STEPS, 1)
    first = 0
    for last, processes in stretches:
        two, gathered = take_steps(tmp_path, name, tmp_path / "two", first, last, processes)
        first = last
    assert len(one) == len(two) == STEPS and one[-1] < 2
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-6
    assert gathered.keys() == whole.keys()
    for key, tensor in whole.items():
        assert (gathered[key] - tensor).abs().max() < 1e-3 * tensor.abs().max()


@pytest.mark.slow
def test_the_command_shares_a_model_and_makes_the_record_of_one_process(made, tmp_path):
    made.made_text(tmp_path)
    words = ["train", "--width", 16, "--sparsity", 0.75, "--context", 32, "--tokens", 30 * 128]
    words += ["--folder", tmp_path / "texts"]
    one = [sys.executable, "-m", "moebook", *words, "--out", tmp_path / "one"]
    subprocess.run(list(map(str, one)), check=True, capture_output=True, timeout=300)
    done = torchrun(2, "-m", "moebook", *words, "--out", tmp_path / "two", "--shard")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("done: ") == 1  # one of them talks
    alone, shared = (json.loads((tmp_path / name / "record.json").read_text()) for name in ("one", "two"))
    assert shared["key"] == alone["key"] and shared["environment"]["processes"] == 2
    assert "processes" not in alone["environment"]
    assert shared["measures"].keys() == alone["measures"].keys()
    for name, value in alone["measures"].items():
        assert shared["measures"][name] == pytest.approx(value, abs=1e-5), name
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    assert not list((tmp_path / "two" / "checkpoint").iterdir())


def test_without_torchrun_or_with_a_batch_that_cannot_be_split_it_says_so(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="--shard: needs processes.*torchrun"):
        start_processes(4)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="batch_sequences: 4: must be a multiple of the 3"):
        start_processes(4)
