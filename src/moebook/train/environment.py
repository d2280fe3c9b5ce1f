"""What a run was made with: hardware, versions, commit. No paths, no names of people or machines."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy
import torch

import moebook
from moebook.model import fused


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def kernels() -> str:
    """What compiled the CPU's fused operations: numba and its version, or "torch" where it computes alone."""
    return f"numba {importlib.metadata.version('numba')}" if fused.AVAILABLE else "torch"


@functools.cache
def code_commit() -> str:
    """Commit of the package's source, with "+dirty" where it differs; "" outside a checkout."""
    folder = Path(moebook.__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
        except OSError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if not commit or git("ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    return commit + ("+dirty" if git("status", "--porcelain", "--", str(folder)) else "")


def environment(device: torch.device) -> dict[str, Any]:
    """The fields of a record's `environment`."""
    on_gpu = device.type == "cuda"
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "threads": torch.get_num_threads(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.split("+")[0],
        "numpy": numpy.__version__,
        "kernels": kernels(),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "moebook": moebook.__version__,
        "commit": code_commit(),
    }
