"""The files that start a cluster: sound as shell and as Ray's launcher reads them; the SLURM one runs."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
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


@pytest.mark.slow
def test_the_slurm_script_drives_a_study(tiny, text_folder, tmp_path):
    """With stand-ins for SLURM's own commands, on a cluster of this one node; Ray and the driver are real."""
    pytest.importorskip("ray", reason=NEEDS_RAY)
    study, tools = tmp_path / "tiny.yml", tmp_path / "tools"
    study.write_text(tiny)
    tools.mkdir()
    stand_ins = {
        "scontrol": "echo here",
        "srun": 'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
        "hostname": "echo 127.0.0.1",
        "moebook": f'exec {sys.executable} -m moebook "$@"',
    }
    for name, body in stand_ins.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_PORT": str(port),
        "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NODELIST": "here", "SLURM_JOB_NUM_NODES": "1",
    }  # fmt: skip
    words = [study, "--folder", text_folder, "--runs", tmp_path / "runs", "--only", "width=16", "--json"]
    line = ["bash", str(SLURM), *map(str, words)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = next(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert report["done"] == 2 and len(Store(tmp_path / "runs").load()) == 2
