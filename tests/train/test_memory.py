"""Memory that stays warm: fewer page faults, the same numbers; and weights that are no numbers end a run."""

import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import moebook
from moebook.train.loop import Diverged, Trainer, run_configs
from moebook.train.memory import keep_memory_warm

FAULTS = """
import json, resource, sys, torch
from moebook.train.memory import keep_memory_warm

def faults(times=10, size=200_000_000):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(size // 4).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
cold = faults()
kept = keep_memory_warm()
first, warm = faults(1), faults()
small = faults(200, 2_000_000)
print(json.dumps({"cold": cold, "kept": kept, "first": first, "warm": warm, "small": small}))
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")


@glibc
def test_freed_memory_is_used_again_without_page_faults():
    source = str(Path(moebook.__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if found["cold"] < 100:
        pytest.skip(f"this system counts no page faults ({found['cold']} for 2 GB)")
    assert found["kept"] is True
    assert found["warm"] < 0.02 * found["cold"] and found["small"] < 0.02 * found["cold"], found


@glibc
def test_it_says_so_and_may_be_asked_twice():
    assert keep_memory_warm() is True and keep_memory_warm(1 << 24) is True


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_memory_warm() is False


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_a_weight_that_is_no_number_ends_training_at_that_step(made, text, fused, monkeypatch):
    monkeypatch.setattr("moebook.model.fused.common.AVAILABLE", fused)
    config = run_configs(made.MODEL, made.RECIPE, text, 0, [8 * made.BATCH])[0]
    for which in ("output.weight", "blocks.0.router_ED", "blocks.1.experts.out_EFD", "norm.weight"):
        trainer = Trainer(config, text, torch.device("cpu"))
        trainer.take_step(8)
        trainer.read_losses()
        with torch.no_grad():
            trainer.model.get_parameter(which)[..., 0] = math.nan
        trainer.take_step(8)
        with pytest.raises(Diverged, match="nan nats at step 2"):
            trainer.read_losses()
