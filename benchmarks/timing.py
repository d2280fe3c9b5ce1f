"""Time by ratios: everything that is compared runs in turns, on one core, and medians are divided."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

SIDE = 1024  # of the square fp32 product that stands for what a core can do

Step = Callable[[], object]


def cpu_seconds(step: Step) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    step()
    return time.process_time() - start


def compare(steps: Mapping[str, Step], rounds: int, warm_up: int = 2) -> dict[str, float]:
    """Median CPU seconds of each step; a round runs every one of them once, in turn."""
    for step in steps.values():
        for _ in range(warm_up):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(cpu_seconds(step))
    return {name: statistics.median(found) for name, found in seconds.items()}


def square_product() -> Step:
    """One SIDE^3 fp32 product, 2 SIDE^3 FLOPs."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return lambda: a @ b


def one_core() -> None:
    """Make this process time what it means to: one thread, no denormals, warm memory."""
    from moebook.train.memory import keep_memory_warm

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    keep_memory_warm()
