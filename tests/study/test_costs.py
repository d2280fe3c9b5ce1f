"""What a study costs by its plan: disk as the committed runs take it, the whole beside what is missing."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from moebook.cli import app
from moebook.runs import Record, Store
from moebook.runs.items import items_path
from moebook.study import cells_of, disk_bytes, open_study, plan, read_study
from moebook.train import NUMERICS, TextIdentity, run_measures

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["cpu-english", "quick"])
def test_the_disk_is_what_the_committed_runs_take(name):
    study, store = read_study(ROOT / "studies" / f"{name}.yml"), Store(ROOT / "runs")
    sha256 = {record.text: record.config["text"]["sha256"] for record in store.load()}[study.text.name]
    trunks = plan(study, TextIdentity(study.text.name, sha256))
    stored = [store.get(cell.key) for trunk in trunks for cell in trunk.cells]
    real = sum(store.path(record).stat().st_size for record in stored)
    tasks = study.scores.tasks if study.scores else ()
    if tasks:
        real += sum(items_path(store.root, record).stat().st_size for record in stored)
    said, _ = disk_bytes(trunks, 2, tasks)
    assert 1 / 1.25 < said / real < 1.25


@pytest.fixture
def planned(write_study, text_folder, tmp_path):
    """What `moebook study plan` prints of a study, and what it says for a machine."""

    def command(content, runs=tmp_path / "runs"):
        words = ["study", "plan", write_study(content), "--folder", text_folder, "--runs", runs]
        words = list(map(str, [*words, "--workers", 2]))
        printed = CliRunner().invoke(app, words)
        assert printed.exit_code == 0, printed.output
        report = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
        return printed.output, report["total"]

    return command


def test_a_finished_study_still_says_what_all_of_it_costs(planned, tiny, write_study, text_folder, tmp_path):
    _, before = planned(tiny)
    assert before["missing"] == 6 and before["whole_record_bytes"] == before["record_bytes"] > 0
    assert before["whole_seconds"] == before["seconds"] > 0
    opened = open_study(str(write_study(tiny)), text_folder, tmp_path / "runs")
    for _, cell in cells_of(opened.trunks):
        losses = {"loss_nats": 2.0, "loss_stderr_nats": 0.1, "bits_per_byte": 2.9}
        measures = run_measures(cell.config) | losses
        Store(tmp_path / "runs").add(Record(cell.config.to_dict(), NUMERICS, "done", measures))
    output, after = planned(tiny)
    assert "6 runs in 4 trunks, 0 of them missing" in output and "missing: nothing" in output
    assert after["missing_flops"] == after["seconds"] == after["record_bytes"] == 0
    for name in ("flops", "whole_seconds", "whole_process_seconds", "whole_record_bytes"):
        assert after[name] == before[name], name
    (line,) = (line for line in output.splitlines() if line.startswith("all: "))
    assert line.startswith(f"all: {after['flops']:.3g} FLOPs") and "expected with 2 processes" in line


def test_a_study_far_beyond_a_processor_is_said_to_be(planned, tiny):
    huge = tiny.replace("[1e8, 3e8]", "[1e16, 3e16]")
    for content, said in ((tiny, False), (huge, True)):
        output, total = planned(content)
        if not torch.cuda.is_available():
            assert ("those of this machine's processor; a GPU is another matter" in output) is said
        assert (total["whole_seconds"] > 30 * 86_400) is said
    assert " days expected with 2 processes" in output
