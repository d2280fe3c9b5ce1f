"""Drives of the real trainer: what is killed, raced or stopped is taken up again, and nothing is lost."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from moebook.cli import app
from moebook.errors import InputError
from moebook.runs import Store
from moebook.study import Job, default_workers, local, open_study, run_trunks
from moebook.study import worker as worker_module
from moebook.text import load_text

SLOWER = ("[1e8, 3e8]", "[3e8, 1.2e9]")


def drive(path, folder, runs, workers=1, watch=None, retry=False, **options):
    opened = open_study(str(path), folder, runs)
    job = Job(opened.study.name, opened.study.text, folder, runs, runs / "work", retry)
    return run_trunks(
        opened.missing(retry), opened.costs(workers).trunk_seconds, job, workers, watch=watch, **options
    )


def losses(runs):
    return {record.key: record.measures.get("loss_nats") for record in Store(runs).load()}


def steps_kept(work, name):
    """The step of a trunk's newest checkpoint, be it of its decay."""
    found = [json.loads(path.read_text())["state"]["step"] for path in (work / name).glob("*.json")]
    return max(found, default=0)


def command(path, folder, runs, *words):
    line = [sys.executable, "-m", "moebook", "study", "run", path, "--folder", folder, "--runs", runs, *words]
    return subprocess.Popen(
        list(map(str, line)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in its background has them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny):
    """A study file whose trunks train for a second or more."""
    path = tmp_path_factory.mktemp("study") / "tiny.yml"
    path.write_text(tiny.replace(*SLOWER))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, study, text_folder):
    """Losses of that study, trained without disturbance."""
    runs = tmp_path_factory.mktemp("undisturbed")
    news = []
    state = drive(study, text_folder, runs, workers=2, watch=lambda state, line: news.append(line))
    assert not state.failures and state.left == 0 and state.count("done") == 6
    assert sum(line.startswith("done width") for line in news) == 6
    assert not list((runs / "work").glob("*/*.safetensors"))
    return losses(runs)


def test_records_have_the_planned_keys_and_a_second_drive_has_nothing_to_do(
    study, undisturbed, text_folder, tmp_path
):
    opened = open_study(str(study), text_folder, tmp_path)
    assert set(undisturbed) == {cell.key for trunk in opened.trunks for cell in trunk.cells}
    assert all(0 < loss < 5.6 for loss in undisturbed.values())


def test_a_killed_worker_s_trunk_goes_on_in_another_and_nothing_is_lost(
    study, undisturbed, text_folder, tmp_path
):
    killed, said = [], []

    def kill_once(state, news):
        said.append(news)
        if not killed and any(running.steps_done > 20 for running in state.running.values()):
            (child,) = multiprocessing.active_children()
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    state = drive(study, text_folder, tmp_path, watch=kill_once)
    (lost,) = (line for line in said if line.startswith("lost"))
    assert "SIGKILL" in lost and killed
    assert not state.failures and state.left == 0
    assert losses(tmp_path) == undisturbed and Store(tmp_path).check() == []


def test_a_killed_worker_s_trunk_goes_on_from_its_last_checkpoint(study, undisturbed, text_folder, tmp_path):
    opened = open_study(str(study), text_folder, tmp_path, only=["width=8", "sparsity=0", "budget=3e8"])
    ((trunk,), work) = opened.trunks, tmp_path / "work"
    job = Job("tiny", opened.study.text, text_folder, tmp_path, work, checkpoint_seconds=0.0)
    killed, lost, told = [], [], {False: [], True: []}

    def kill_once(state, news):
        lost.extend([news] if news.startswith("lost") else [])
        told[bool(lost)] += [running.steps_done for running in state.running.values()]
        if not killed and max(told[False], default=0) > 20 and steps_kept(work, trunk.name) > 20:
            (child,) = multiprocessing.active_children()
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            killed.append(steps_kept(work, trunk.name))

    state = run_trunks(opened.missing(), opened.costs(1).trunk_seconds, job, 1, watch=kill_once)
    (kept,) = killed
    assert not state.failures and losses(tmp_path).items() <= undisturbed.items()
    # A worker tells of the first step that it makes; the killed one may have made one that it did not keep.
    resumed = next(steps for steps in told[True] if steps)
    assert max(told[False]) <= kept + 1 and resumed == kept + 1 < trunk.cells[0].steps


def test_a_trunk_that_kills_every_worker_is_reported_not_recorded(study, text_folder, tmp_path):
    killed = []

    def kill_always(state, news):
        for child in multiprocessing.active_children():
            if state.running and child.pid not in killed:
                killed.append(child.pid)
                os.kill(child.pid, signal.SIGKILL)

    opened = open_study(str(study), text_folder, tmp_path, only=["width=16", "seed=0"])
    job = Job(opened.study.name, opened.study.text, text_folder, tmp_path, tmp_path / "work")
    state = run_trunks(opened.missing(), opened.costs(1).trunk_seconds, job, 1, watch=kill_always)
    ((trunk, reason),) = state.failures
    assert trunk == opened.trunks[0] and "SIGKILL" in reason and "3 times" in reason and len(killed) == 3
    assert losses(tmp_path) == {} and state.left == state.failed == 1


def test_two_drivers_on_one_store_share_the_work(study, undisturbed, text_folder, tmp_path):
    drivers = [command(study, text_folder, tmp_path, "--workers", "1") for _ in range(2)]
    ends = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], ends
    announced = [
        line.split(":")[0] for _, news in ends for line in news.splitlines() if line.startswith("done")
    ]
    assert len(announced) == len(set(announced)) == 6  # by the one that trained it
    assert all("6 done" in out for out, _ in ends)
    assert losses(tmp_path) == undisturbed


def test_ctrl_c_and_a_killed_driver_leave_a_store_that_goes_on(study, undisturbed, text_folder, tmp_path):
    work = tmp_path / "work"

    def started():
        return any(path.is_dir() for path in work.glob("*"))

    driver = command(study, text_folder, tmp_path, "--workers", "1")
    wait_until(started)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: driver and workers alike
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "run again to go on" in err and "Traceback" not in err
    before = len(losses(tmp_path))
    assert before < 6 and Store(tmp_path).check() == []

    driver = command(study, text_folder, tmp_path, "--workers", "1")
    wait_until(lambda: open_study(str(study), text_folder, tmp_path).running(work))
    driver.kill()
    driver.communicate()
    wait_until(lambda: not open_study(str(study), text_folder, tmp_path).running(work))  # its worker ends too
    assert not any(record.status == "failed" for record in Store(tmp_path).load())
    state = drive(study, text_folder, tmp_path)
    assert not state.failures and losses(tmp_path) == undisturbed


def test_a_time_limit_stops_the_drive_and_says_so(study, text_folder, tmp_path):
    state = drive(study, text_folder, tmp_path, limit_seconds=0.5)
    assert state.stopped == "time limit" and state.left == 6 and not state.failures
    assert not multiprocessing.active_children()


def test_a_worker_that_cannot_begin_ends_the_drive_in_one_line(study, text_folder, tmp_path):
    opened = open_study(str(study), text_folder, tmp_path)
    job = Job("tiny", opened.study.text, tmp_path / "gone", tmp_path, tmp_path / "work")
    with pytest.raises(InputError, match="gone"):
        run_trunks(opened.trunks, opened.costs(1).trunk_seconds, job, 1)
    assert not losses(tmp_path)


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (KeyError("expert"), True),
        (OSError(28, "No space left on device"), False),
        (InputError("disk"), False),
    ],
)
def test_only_a_failure_of_the_runs_own_code_becomes_a_record(
    study, text_folder, tmp_path, monkeypatch, error, recorded
):
    """No input makes the real trainer fail so; its place is taken, in this process, by one that raises."""
    opened = open_study(str(study), text_folder, tmp_path)
    trunk = opened.trunks[-1]
    text = load_text(opened.study.text, text_folder)
    good = worker_module.train_trunk

    def fail(*arguments, **options):
        raise error

    def attempt(retry):
        job = Job("tiny", opened.study.text, text_folder, tmp_path, tmp_path / "work", retry)
        return worker_module.attempt(job, text, trunk, lambda *said: None)

    monkeypatch.setattr(worker_module, "train_trunk", fail)
    how, reason, statuses = attempt(retry=False)
    assert how == "failed" and str(error) in reason
    assert statuses == ({cell.key: "failed" for cell in trunk.cells} if recorded else {})
    monkeypatch.setattr(worker_module, "train_trunk", good)
    if recorded:
        assert attempt(retry=False)[2] == statuses
        left = open_study(str(study), text_folder, tmp_path).missing()
        assert trunk.name not in {t.name for t in left}
    assert set(attempt(retry=True)[2].values()) == {"done"}
    history = Store(tmp_path).get(trunk.cells[0].key).history
    assert [attempt["reason"] for attempt in history] == (["KeyError: 'expert'"] if recorded else [])


def test_processes_that_share_a_card_are_at_most_eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(32), raising=False)
    assert (default_workers(cuda=True), default_workers(cuda=False)) == (8, 32)


@pytest.mark.parametrize("words, compiled", [([], True), (["--no-compile"], False)])
def test_whether_to_compile_comes_from_the_shell_to_the_trainer(
    study, text_folder, tmp_path, monkeypatch, words, compiled
):
    jobs, options = [], {}

    def stopped(trunks, seconds, job, *rest):
        jobs.append((trunks[0], job))
        raise KeyboardInterrupt

    def stopped_too(*arguments, **given):
        options.update(given)
        raise OSError

    monkeypatch.setattr("moebook.study.run_trunks", stopped)
    monkeypatch.setattr(worker_module, "train_trunk", stopped_too)
    line = ["study", "run", study, "--folder", text_folder, "--runs", tmp_path, *words]
    assert CliRunner().invoke(app, list(map(str, line))).exit_code == 130
    ((trunk, job),) = jobs
    worker_module.attempt(job, load_text(job.text, job.folder), trunk, print)
    assert options["compiled"] is compiled


def test_workers_that_cannot_begin_end_a_drive_in_one_line(monkeypatch):
    """One that dies before it begins is replaced; several in a row are no accident."""
    monkeypatch.setattr(local, "work", os.abort)
    pool = local.LocalPool(None, 1)
    pool.submit(None)
    with pytest.raises(InputError, match=f"{local.STILLBORN} workers ended before they began, the last by"):
        for _ in range(1000):
            pool.events(0.1)
    pool.close()


def test_a_processor_without_memory_is_no_fault_of_the_run(tmp_path, monkeypatch, study, text_folder):
    def full(*args):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr(worker_module, "_train", full)
    opened = open_study(str(study), text_folder, tmp_path)
    job = Job(opened.study.name, opened.study.text, text_folder, tmp_path, tmp_path / "work", False)
    ended, reason, statuses = worker_module.attempt(job, None, opened.trunks[0], print)
    assert ended == "failed" and "can't allocate memory" in reason
    assert not statuses and not Store(tmp_path).load()
