"""Whole training steps on a CUDA GPU: FLOP utilisation, and speed over the dense twin and over a peer."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks import steps
from benchmarks.timing import Step
from moebook.architecture import ModelConfig, counts
from moebook.model import Decoder
from moebook.train import Recipe
from moebook.train.graph import WARM_UP, training_step

WIDTHS, EXPERTS = (128, 256, 512, 1024), (1, 8, 32, 64)
CONTEXT = 1024
SIDE = 8192  # of the square bf16 product that stands for what the card can do
RECIPE = Recipe(precision="bf16", balance_weight=steps.BALANCE_WEIGHT)
DENSE_BAR, DENSE_BAR_WIDTH = 0.85, 512  # tokens per second over the dense twin's, from that width on
#: Of other libraries, as they report: tokens per second of E = 8 over E = 1 at so many active parameters.
PUBLIC = {"MegaBlocks, A100": {"41M": 0.49, "160M": 0.70}}


def datasheet_flops(name: str) -> float | None:
    """Dense bf16 FLOP/s that NVIDIA states for a card; None for one not known here."""
    if name in ("NVIDIA H100 80GB HBM3", "NVIDIA H200"):  # both SXM; the PCIe and NVL cards are slower
        return 989e12
    return 312e12 if name.startswith("NVIDIA A100") else None


def seconds(step: Step, device: torch.device, rounds: int, repeats: int) -> float:
    """Median over rounds of the wall clock of one step, `repeats` of them queued at a time."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(count: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        return (time.perf_counter() - start) / count

    timed(WARM_UP + 2)  # compiles, captures
    return statistics.median(timed(repeats) for _ in range(rounds))


def product(side: int, device: torch.device) -> Step:
    """One bf16 product, 2 side^3 FLOPs."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return lambda: a @ b


def ours(config: ModelConfig, device: torch.device, compiled: bool = True) -> Step:
    """The step that training takes, its copy of the batch to the device included."""
    take = training_step(Decoder(config).to(device), RECIPE, compiled)
    shape = steps.SEQUENCES, config.context + 1
    batch_BN = np.random.default_rng(0).integers(config.vocab, size=shape, dtype=np.uint8)
    return lambda: take(batch_BN, steps.RATE)


def transformers(config: ModelConfig, device: torch.device) -> Step:
    """The peer's, all in bf16: its grouped products take no autocast, and its update is lighter for it."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            return steps.transformers(config)
    finally:
        torch.set_default_dtype(usual)


def measure_gpu(
    device: torch.device | None = None,
    widths: Sequence[int] = WIDTHS,
    experts: Sequence[int] = EXPERTS,
    context: int = CONTEXT,
    side: int = SIDE,
    rounds: int = 5,
    repeats: int = 10,
) -> dict[str, Any] | None:
    """The card, its peak, and a row for each width and number of experts (1, the dense twin, first).

    A row's `share` is the model's useful FLOPs over those of the square product in the same run,
    `share_stated` over the data sheet's; None stands where there is nothing to compare with. None in all
    without a CUDA GPU.

    Args:
        device: another than the first GPU.
    """
    if device is None:
        if not torch.cuda.is_available():
            return None
        device = torch.device("cuda", 0)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    possible = 2.0 * side**3 / seconds(product(side, device), device, rounds, repeats)
    stated = datasheet_flops(name)
    peer = importlib.util.find_spec("transformers") is not None
    rows = []
    for width in widths:
        dense = None
        for count in experts:
            config = replace(steps.model_of(width, count), context=context)
            kinds = {"ours": ours(config, device), "plain": ours(config, device, compiled=False)}
            if peer:
                kinds["transformers"] = transformers(config, device)
            taken = {}
            for kind in list(kinds):
                taken[kind] = seconds(kinds.pop(kind), device, rounds, repeats)
                gc.collect()
            if count == 1:
                dense = taken["ours"]
            rows.append(_row(config, taken, possible, stated, dense))
    return {
        "device": name, "torch": torch.__version__.split("+")[0], "product_tflops": possible / 1e12,
        "stated_tflops": stated and stated / 1e12, "public": PUBLIC, "rows": rows,
    }  # fmt: skip


def _row(
    config: ModelConfig, taken: dict[str, float], possible: float, stated: float | None, dense: float | None
) -> dict[str, Any]:
    found, tokens = counts(config), steps.SEQUENCES * config.context
    useful = found.flops_per_token * tokens / taken["ours"]
    over_dense = dense / taken["ours"] if dense and config.routed else None
    bar = DENSE_BAR if config.routed and config.width >= DENSE_BAR_WIDTH else None
    return {
        "width": config.width, "experts": config.experts, "active": config.active, "context": config.context,
        "sparsity": config.sparsity, "params": found.params, "params_active": found.params_active,
        "tokens": tokens, "flops_per_token": found.flops_per_token, "seconds": taken,
        "tokens_per_second": tokens / taken["ours"], "useful_tflops": useful / 1e12,
        "share": useful / possible, "share_stated": stated and useful / stated,
        "over_dense": over_dense, "bar": bar,
        "met": None if bar is None or over_dense is None else bool(over_dense >= bar),
        "over_plain": taken["plain"] / taken["ours"],
        "over_transformers": taken["transformers"] / taken["ours"] if "transformers" in taken else None,
    }  # fmt: skip
