"""The benchmark of one core at sizes that take no time, its tables, and the file that it writes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import experts, report, steps
from benchmarks.__main__ import NOT_MEASURED, machine_name, measure, store
from moebook.architecture import counts
from moebook.book.benchmarks import load_results
from moebook.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
ROW = experts.Row(tokens=64, width=16, expert_width=16, experts=4, active=2, bar=1.5)


@pytest.fixture(scope="module")
def found():
    """A whole result of one tiny feed-forward and the two tiniest models."""
    said = []
    result = measure(1, (ROW,), (64,), (1, 8), measure_gpu=lambda: None, say=said.append)
    assert said == ["feed-forward 1 of 1", "steps, width 1 of 1", "GPU"]
    return result


def printed(table) -> str:
    console = Console(width=report.COLUMNS, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()


def test_a_feed_forward_is_measured_by_ratios_to_plain_dense(found):
    [row] = found["experts"]
    seconds = row["cpu_seconds"]
    assert row["shape"] == ROW._asdict() and min(seconds.values()) > 0
    assert row["ratio"]["ours"] == pytest.approx(seconds["ours"] / seconds["dense"])
    assert row["met"] is (row["ratio"]["ours"] <= ROW.bar)
    assert row["met_transformers"] is (seconds["ours"] <= seconds["transformers"])
    apart = (seconds["products"] - seconds["dense products"]) / seconds["dense"]
    assert row["floor"] == pytest.approx(1 + apart)


def test_a_step_is_measured_against_what_a_core_can_do_and_against_the_peer(found):
    dense, sparse = found["steps"]
    assert (dense["sparsity"], sparse["sparsity"]) == (0, 3 / 4)
    for row in found["steps"]:
        paper = counts(steps.model_of(64, row["experts"]))
        assert (row["params"], row["flops_per_token"]) == (paper.params, paper.flops_per_token)
        useful = row["flops_per_token"] * row["tokens"] / row["cpu_seconds"]["ours"] / 1e9
        assert row["share"] == pytest.approx(useful / row["product_gflops"])
        assert row["met"] is (row["share"] >= row["bar"] == 0.30)
        assert row["met_peer"] is (row["faster"] >= steps.PEER_BAR)


def product_flops(step) -> float:
    """FLOPs of the products that a step leaves to torch, fused attention taken apart into its two."""
    aten = torch.ops.aten

    def by_group(a, b, *_, out_shape, **__):  # [R, A] by [E, A, B]; for weights, [A, R] by [R, B]
        return 2 * a[0] * a[1] * b[-1]

    def added(_, a, b, **__):
        return 2 * a[0] * a[1] * b[1]

    counter = FlopCounterMode(display=False, custom_mapping={aten._grouped_mm: by_group, aten.addmm_: added})
    with counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return counter.get_total_flops()


@pytest.mark.parametrize("count", [1, 8])
def test_both_libraries_do_the_same_products_and_leave_them_all_to_torch(count):
    """Those of the count on paper; transformers' dense model routes to its one expert as well."""
    config = steps.model_of(64, count)
    tokens = steps.SEQUENCES * config.context
    on_paper = counts(config).flops_per_token * tokens
    routers = 0 if config.routed else 6 * config.width * config.layers * tokens
    assert product_flops(steps.ours(config)) == on_paper
    assert product_flops(steps.transformers(config)) == on_paper + routers


def test_a_file_is_named_after_the_processor_and_the_card():
    assert machine_name("Intel(R) Xeon(R) Processor") == "intel-xeon-processor"
    assert machine_name("AMD EPYC 9R14 96-Core", "NVIDIA H100") == "amd-epyc-9r14-96-core-nvidia-h100"


def test_what_is_written_can_be_read_by_the_book(found, tmp_path):
    path = store(found, tmp_path)
    assert json.loads(path.read_text()) == found and found["gpu"] == NOT_MEASURED
    [result] = load_results(tmp_path)
    assert result.machine == path.stem == machine_name(found["environment"]["hardware"])
    [feed_forward] = result.feed_forwards
    assert feed_forward.ratio == found["experts"][0]["ratio"] and feed_forward.rows_per_expert == 32
    assert [step.experts for step in result.steps] == [1, 8] and result.gpu is None


def test_what_a_card_measured_can_be_read_too(found, tmp_path):
    row = {
        "width": 512, "experts": 8, "active": 2, "context": 1024, "sparsity": 0.75, "params": 10, "tokens": 9,
        "params_active": 5, "flops_per_token": 30, "seconds": {"ours": 0.01, "plain": 0.02},
        "tokens_per_second": 900.0, "useful_tflops": 100.0, "share": 0.4, "share_stated": None,
        "over_dense": 0.8, "bar": 0.85, "met": False, "over_plain": 2.0, "over_transformers": None,
    }  # fmt: skip
    gpu = {"device": "NVIDIA H100", "torch": "2.13.0", "product_tflops": 700.0, "stated_tflops": None,
           "public": {"other": {"41M": 0.49}}, "rows": [row]}  # fmt: skip
    path = store(found | {"gpu": gpu}, tmp_path)
    assert path.stem.endswith("-nvidia-h100")
    [result] = load_results(tmp_path)
    assert result.gpu.rows[0].over_dense == 0.8 and result.gpu.public == {"other": {"41M": 0.49}}
    text = printed(report.gpu_table(gpu))
    assert "≥ 0.85 miss" in text and "…" not in text and "NVIDIA H100" in text


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: r["experts"][0].pop("floor"), r"experts\[0\]: floor: None"),
        (lambda r: r["experts"][0]["shape"].update(experts=0), r"experts\[0\]: shape: experts: 0"),
        (lambda r: r["experts"][0]["cpu_seconds"].update(ours=-1), r"cpu_seconds: ours: -1"),
        (lambda r: r["steps"][1].update(met="yes"), r"steps\[1\]: met: 'yes'"),
        (lambda r: r["steps"][1].update(share=True), r"steps\[1\]: share: True"),
        (lambda r: r.update(gpu="soon"), "gpu: 'soon'"),
        (lambda r: r["environment"].pop("hardware"), "environment: hardware: None"),
    ],
)
def test_a_file_that_is_not_sound_is_named_with_its_field(found, tmp_path, spoil, words):
    copy = json.loads(json.dumps(found))
    spoil(copy)
    (tmp_path / "some.json").write_text(json.dumps(copy))
    with pytest.raises(InputError, match=f"some.json: .*{words}") as raised:
        load_results(tmp_path)
    assert "\n" not in str(raised.value)


def test_no_result_and_no_json_are_named(tmp_path):
    with pytest.raises(InputError, match="run `make bench`"):
        load_results(tmp_path)
    (tmp_path / "some.json").write_text("{")
    with pytest.raises(InputError, match="some.json: is no JSON"):
        load_results(tmp_path)


def test_a_missed_bar_is_a_miss(monkeypatch, found):
    planted = {"dense": 1.0, "our dense": 1.0, "ours": 1.6, "transformers": 1.7, "dense products": 0.8,
               "products": 0.9, "transformers eager": 9.0, "product": 1e-3, "ours 8": 1.6,
               "transformers 8": 1.7}  # fmt: skip
    monkeypatch.setattr(experts, "compare", lambda made, rounds, warm_up=2: {k: planted[k] for k in made})
    monkeypatch.setattr(steps, "compare", lambda made, rounds, warm_up=2: {k: planted[k] for k in made})
    [row] = experts.measure((ROW,), 1)
    assert row["ratio"]["ours"] == 1.6 and row["floor"] == pytest.approx(1.1)
    assert row["met"] is False and row["met_transformers"] is True
    [step] = steps.measure((64,), (8,), 1)
    assert step["faster"] == pytest.approx(1.7 / 1.6)
    assert step["met"] is False and step["met_peer"] is False
    text = printed(report.cpu_table([row], [step]))
    assert [line.split()[-8:] for line in text.splitlines() if "1600.0" in line] == [
        ["1.60", "≤", "1.50", "miss", "0.94", "≤", "1.00", "pass"],
        ["0.00", "≥", "0.30", "miss", "1.06", "≥", "1.30", "miss"],
    ]


def test_the_table_is_printed_whole_however_long_it_took(found):
    rows = [
        {**row, "shape": ROW._replace(tokens=16384, width=512, expert_width=512, experts=64)._asdict(),
         "cpu_seconds": {name: 1.2345 for name in row["cpu_seconds"]}}
        for row in found["experts"]
    ]  # fmt: skip
    text = printed(report.cpu_table(rows, found["steps"]))
    assert "…" not in text and "16384, 512, 512, 64, 2" in text and "1234.5" in text
    assert len(text.splitlines()) == 3 + 1 + 3 + 1 + 1 + 1 + 2 + 1, "no cell breaks into lines"


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "benchmarks", "--out", str(tmp_path / "file" / "results")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'file' / 'results'}: cannot be written")
