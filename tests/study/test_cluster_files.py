"""The files that start a cluster: sound as shell and as Ray's launcher reads them; the SLURM one runs."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from moebook.errors import InputError
from moebook.runs import Store

STUDIES = Path(__file__).parents[2] / "studies"
NEEDS_RAY = "needs ray: pip install -e '.[ray]'"
SLURM, CLOUD = STUDIES / "cluster" / "slurm.sh", STUDIES / "cluster" / "cloud.yaml"


def test_without_ray_the_message_says_what_installs_it(monkeypatch):
    from moebook.study.ray import connect

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError) as refused:
        connect("")
    extra = re.search(r"pip install -e '\.\[(\w+)\]' in the checkout$", str(refused.value))
    project = tomllib.loads((STUDIES.parent / "pyproject.toml").read_text())["project"]
    assert extra and any(need.startswith("ray") for need in project["optional-dependencies"][extra[1]])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_is_sound_shell():
    checked = subprocess.run(["bash", "-n", SLURM], capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr, checked.stderr
    directives = [line for line in SLURM.read_text().splitlines() if line.startswith("#SBATCH")]
    assert len(directives) >= 5


def test_the_cloud_file_is_what_ray_s_launcher_takes():
    config = yaml.safe_load(CLOUD.read_text())
    assert config["head_node_type"] in config["available_node_types"]
    launcher = pytest.importorskip("ray.autoscaler._private.util", reason=NEEDS_RAY)
    launcher.validate_config(launcher.prepare_config(config))


def test_every_file_that_the_readme_names_is_there():
    said = (STUDIES / "README.md").read_text()
    for path in (SLURM, CLOUD):
        assert f"cluster/{path.name}" in said


#: As srun does: of one Ctrl-C it says how its tasks stand, unless it was told to hand it on.
SRUN = """
import signal, subprocess, sys
words = sys.argv[1:]
options = [words.pop(0) for _ in words.copy() if words[0].startswith("--")]
task = subprocess.Popen(words)
def interrupted(number, frame):
    if "--disable-status" in options:
        task.send_signal(number)
    else:
        print("interrupt (one more within 1 sec to abort)")
signal.signal(signal.SIGINT, interrupted)
sys.exit(task.wait())
"""


def test_the_signal_before_the_end_reaches_the_tasks(tmp_path):
    """By stand-ins for SLURM's commands and for Ray; SLURM sends it to the process of the script alone."""
    (tmp_path / "srun.py").write_text(SRUN)
    heard = f"trap 'touch {tmp_path}/told; exit 130' INT"
    tools = stand_ins(
        tmp_path / "tools", scontrol="echo here", hostname="echo 127.0.0.1",
        srun=f"exec {shlex.quote(sys.executable)} {tmp_path}/srun.py \"$@\"",
        ray=f"{heard}; touch {tmp_path}/ready; while :; do sleep 0.1; done",
    )  # fmt: skip
    (sent,) = re.findall(r"^#SBATCH --signal=B:(\w+)@60$", SLURM.read_text(), re.MULTILINE)
    script = subprocess.Popen(
        ["bash", str(SLURM), "cpu-english"], env=environment(tools, tmp_path, 1), stdout=subprocess.DEVNULL,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        wait_until((tmp_path / "ready").exists)
        script.send_signal(signal.Signals[f"SIG{sent}"])
        wait_until((tmp_path / "told").exists)
        assert script.wait(20) == 130
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)


def stand_ins(folder, **bodies):
    """Shell scripts in place of commands, by name."""
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def environment(tools, submitted, port):
    """What SLURM sets for a job of one node, with the stand-ins before all other commands."""
    return os.environ | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_PORT": str(port),
        "SLURM_SUBMIT_DIR": str(submitted), "SLURM_JOB_NODELIST": "here", "SLURM_JOB_NUM_NODES": "1",
    }  # fmt: skip


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.slow
def test_the_slurm_script_drives_a_study(tiny, text_folder, tmp_path):
    """With stand-ins for SLURM's own commands, on a cluster of this one node; Ray and the driver are real."""
    pytest.importorskip("ray", reason=NEEDS_RAY)
    study = tmp_path / "tiny.yml"
    study.write_text(tiny)
    tools = stand_ins(
        tmp_path / "tools", scontrol="echo here", hostname="echo 127.0.0.1",
        srun='while [[ "$1" == --* ]]; do shift; done; exec "$@"',
        moebook=f'exec {shlex.quote(sys.executable)} -m moebook "$@"',
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [study, "--folder", text_folder, "--runs", tmp_path / "runs", "--only", "width=16", "--json"]
    line = ["bash", str(SLURM), *map(str, words)]
    job = environment(tools, tmp_path, port)
    done = subprocess.run(line, env=job, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert report["done"] == 2 and len(Store(tmp_path / "runs").load()) == 2
