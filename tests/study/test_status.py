"""What is said of a trunk in work: by `study status`, from another process, and by a driver's table."""

import functools
import io
import json
import multiprocessing
import re
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moebook.cli import app
from moebook.study import Display, Job, State, display, open_study, plan, read_study, worker
from moebook.study.state import Running
from moebook.text import load_text
from moebook.train import TextIdentity

ONE = ["width=8", "sparsity=0", "budget=2e9"]


def train_one(path, folder, runs):
    """Train a trunk as a driver's worker does, with signs of life that a test need not wait for."""
    worker.claimed = functools.partial(worker.claimed, beat_seconds=0.1)
    opened = open_study(str(path), folder, runs, only=ONE)
    job = Job("tiny", opened.study.text, folder, runs, runs / "work")
    worker.attempt(job, load_text(job.text, folder), opened.trunks[0], lambda *said: None)


@pytest.fixture
def status(write_study, tiny, text_folder, tmp_path):
    """`moebook study status` of a study with a longer trunk: its words, or what it says for a machine."""
    path = write_study(tiny.replace("[1e8, 3e8]", "[2e9]"))

    def command(*words):
        line = ["study", "status", path, "--folder", text_folder, "--runs", tmp_path / "runs", *words]
        said = CliRunner().invoke(app, list(map(str, line)))
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout) if "--json" in words else said.output

    command.path = path
    return command


def test_status_tells_of_a_trunk_that_another_process_trains_and_of_its_end(status, text_folder, tmp_path):
    before = status("--json")
    assert before["running"] == [] and before["missing"] == before["cells"] == 4
    assert before["flops_left"] == before["missing_flops"] == before["flops"]
    arguments = (status.path, text_folder, tmp_path / "runs")
    process = multiprocessing.get_context("spawn").Process(target=train_one, args=arguments)
    process.start()
    try:
        end = time.monotonic() + 120
        while not (now := status("--json"))["running"] or not now["running"][0]["steps_done"]:
            assert process.is_alive() and time.monotonic() < end, "it was never seen at work"
        words = status()
        process.join(300)
    finally:
        process.kill()
    (row,) = now["running"]
    (trunk,) = open_study(str(status.path), text_folder, tmp_path / "runs", only=ONE).trunks
    assert (row["trunk"], row["width"], row["sparsity"], row["seed"]) == (trunk.name, 8, 0.0, 0)
    assert row["pid"] == process.pid and row["steps"] == trunk.cells[0].steps and 0 < row["loss_nats"] < 6
    share = row["steps_done"] / row["steps"]
    assert 0 < share < 1 and now["missing"] == 4 and now["running_trunks"] == now["workers"] == 1
    assert now["flops_left"] == pytest.approx(now["flops"] - share * trunk.flops)
    assert 0 < now["seconds_left"]
    assert "1 trunks in work" in words and f"/{row['steps']} " in words and str(process.pid) in words

    after = status("--json")
    assert process.exitcode == 0 and (after["done"], after["missing"]) == (1, 3) and after["running"] == []
    assert after["flops_left"] == pytest.approx(after["flops"] - trunk.flops)
    assert "0 trunks in work" in status()


@pytest.fixture
def state(write_study):
    """A drive of four trunks: one has ended, one is in work at half of its steps."""
    trunks = plan(read_study(write_study()), TextIdentity("tiny", "ab" * 32))
    made = State(trunks, {trunk.name: 100.0 for trunk in trunks}, 1)
    made.ended.add(trunks[0].name)
    made.statuses = {cell.key: "done" for cell in trunks[0].cells}
    made.running[trunks[1].name] = Running(trunks[1], 0.0, 50, 100, 2.3456, "node-7")
    return made


def shown(state, news, terminal):
    file = io.StringIO()
    with Display("tiny", Console(file=file, force_terminal=terminal, width=120)) as view:
        view.shown -= 1.0  # not just now
        view(state, news)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def test_a_terminal_has_a_table_of_the_trunks_in_work(state):
    left = sum(trunk.flops for trunk in state.trunks[2:]) + state.trunks[1].flops / 2
    assert state.flops_left == pytest.approx(left)
    table = shown(state, "", terminal=True)
    for words in ("study tiny", "2/6", f"{left:.2e}", "0.75", "50/100", "2.346", "node-7"):
        assert words in table, words
    assert "and " not in table
    assert "done width 8" in shown(state, "done width 8", terminal=True)


def test_a_table_has_as_many_rows_as_there_is_room_for(state, monkeypatch):
    monkeypatch.setattr(display, "ROWS", 1)
    state.running[state.trunks[2].name] = Running(state.trunks[2], 0.0, 90, 100, None, "node-8")
    table = shown(state, "", terminal=True)
    assert "90/100" in table and "50/100" not in table and "and 1 more" in table


def test_elsewhere_there_is_a_line_for_news_and_now_and_then_without(state):
    line = shown(state, "done width 8", terminal=False)
    assert line.startswith("done width 8 (2/6 done · 1 running · 0 failed · ") and line.count("\n") == 1
    assert shown(state, "", terminal=False) == ""
