"""The rows of the GPU's benchmark, made on a CPU at sizes that take no time."""

import importlib.util
import json

import pytest
import torch

from benchmarks import gpu
from moebook.architecture import counts

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_nothing_is_measured():
    assert gpu.measure_gpu() is None


@pytest.mark.parametrize("name, flops", [
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12),
    ("NVIDIA H100 PCIe", None), ("NVIDIA H100 NVL", None), ("NVIDIA GeForce RTX 4090", None), ("cpu", None),
])  # fmt: skip
def test_a_card_is_known_by_its_whole_name(name, flops):
    assert gpu.datasheet_flops(name) == flops


def test_rows_are_ratios_of_what_was_timed():
    found = gpu.measure_gpu(CPU, (64,), (1, 8), context=16, side=64, rounds=1, repeats=1)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["device"] == "cpu" and found["stated_tflops"] is None
    dense, sparse = found["rows"]
    for row in found["rows"]:
        seconds = row["seconds"]
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / seconds["ours"])
        useful = row["flops_per_token"] * row["tokens_per_second"] / 1e12
        assert row["share"] == pytest.approx(useful / found["product_tflops"])
        assert row["share_stated"] is None
        assert row["over_plain"] == pytest.approx(seconds["plain"] / seconds["ours"])
        if importlib.util.find_spec("transformers"):
            assert row["over_transformers"] == pytest.approx(seconds["transformers"] / seconds["ours"])
    assert dense["over_dense"] is None and (sparse["bar"], sparse["met"]) == (None, None)
    assert sparse["over_dense"] == pytest.approx(dense["seconds"]["ours"] / sparse["seconds"]["ours"])
    assert sparse["params"] > sparse["params_active"] and torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("width, ratio, bar, met", [
    (512, 0.86, 0.85, True), (1024, 0.84, 0.85, False), (256, 0.5, None, None),
])  # fmt: skip
def test_the_bar_is_for_wide_mixtures(width, ratio, bar, met):
    config = gpu.steps.model_of(width, 8)
    row = gpu._row(config, {"ours": 1.0, "plain": 2.0}, 1e12, 2e12, dense=ratio)
    assert (row["bar"], row["met"], row["over_dense"]) == (bar, met, ratio)
    useful = counts(config).flops_per_token * gpu.steps.SEQUENCES * config.context
    assert (row["share"], row["share_stated"]) == pytest.approx((useful / 1e12, useful / 2e12))
    assert row["over_transformers"] is None
