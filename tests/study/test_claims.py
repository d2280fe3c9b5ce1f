"""One process alone has a claim; what is dead, silent or given back is free, and a sleeper finds out."""

import multiprocessing
import os
import signal
import time

import pytest

from moebook.errors import InputError
from moebook.study.claims import Lost, claimed, holder, holders

BEAT, STALE = 0.1, 0.5


def _hold(folder, pipe):
    with claimed(folder, BEAT, STALE) as claim:
        pipe.send(claim is not None)
        pipe.recv()
        if claim is not None:
            try:
                claim.check()
                pipe.send("mine")
            except Lost:
                pipe.send("lost")


@pytest.fixture
def other(tmp_path):
    """A process that holds `tmp_path / "t"`, and the pipe to it."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path / "t", there))
    process.start()
    assert here.recv() is True
    yield process, here
    process.kill()
    process.join()


def test_a_held_claim_is_refused_and_a_given_back_one_is_free_at_once(tmp_path):
    folder = tmp_path / "t"
    with claimed(folder, BEAT, STALE) as first:
        first.tell(steps_done=7)
        first.beat()
        with claimed(folder, BEAT, STALE) as second:
            assert first is not None and second is None
        (held,) = holders(tmp_path).values()
        assert held.trunk == "t" and held.values["pid"] == os.getpid() and held.values["steps_done"] == 7
    assert holders(tmp_path) == {}
    with claimed(folder, BEAT, STALE) as third:
        assert third is not None and holder(folder).number == 2


def test_signs_of_life_keep_a_claim_for_longer_than_it_takes_to_go_stale(tmp_path):
    with claimed(tmp_path / "t", BEAT, STALE) as claim:
        time.sleep(3 * STALE)
        assert holder(tmp_path / "t", STALE).live
        claim.check()


def test_a_killed_process_s_claim_is_free_at_once(tmp_path, other):
    process, _ = other
    with claimed(tmp_path / "t", BEAT, STALE) as claim:
        assert claim is None
    process.kill()
    process.join()
    assert not holder(tmp_path / "t", stale_seconds=3600).live
    with claimed(tmp_path / "t", BEAT, stale_seconds=3600) as claim:
        assert claim is not None


def test_a_stopped_process_loses_its_claim_and_finds_out_before_it_writes(tmp_path, other):
    process, pipe = other
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2 * STALE)
    with claimed(tmp_path / "t", BEAT, STALE) as claim:
        assert claim is not None
        os.kill(process.pid, signal.SIGCONT)
        pipe.send("go on")
        assert pipe.recv() == "lost"
        claim.check()
    assert holder(tmp_path / "t").number == 2


def test_of_another_machine_s_process_only_silence_is_believed(tmp_path):
    """Its claim as it would lie on a shared disk: a process number that here is nobody's."""
    folder = tmp_path / "t"
    folder.mkdir()
    path = folder / "claim-3"
    path.write_text('{"host": "elsewhere", "pid": 999999999, "place": "elsewhere 1", "born": "5"}')
    with claimed(folder, BEAT, STALE) as claim:
        assert claim is None
    os.utime(path, (time.time() - 10, time.time() - 10))
    with claimed(folder, BEAT, STALE) as claim:
        assert claim is not None and holder(folder).number == 4


def test_one_whose_disk_was_away_may_come_back_while_another_listens(tmp_path, monkeypatch):
    folder = tmp_path / "t"
    folder.mkdir()
    path = folder / "claim-1"
    path.write_text('{"host": "elsewhere", "pid": 1, "place": "elsewhere 1", "born": "5"}')
    os.utime(path, (time.time() - 10, time.time() - 10))
    monkeypatch.setattr(time, "sleep", lambda seconds: os.utime(path))
    with claimed(folder, BEAT, STALE) as claim:
        assert claim is None


def _race(folder, start, pipe):
    start.wait()
    with claimed(folder, BEAT, STALE) as claim:
        pipe.send(claim is not None)
        time.sleep(0.5)


def test_of_many_that_ask_at_once_one_gets_it(tmp_path):
    context = multiprocessing.get_context("fork")
    dead = tmp_path / "t"
    dead.mkdir()
    (dead / "claim-1").touch()
    os.utime(dead / "claim-1", (0, 0))
    start, pipes, processes = context.Event(), [], []
    for _ in range(8):
        here, there = context.Pipe()
        processes.append(context.Process(target=_race, args=(dead, start, there)))
        processes[-1].start()
        pipes.append(here)
    start.set()
    assert sum(pipe.recv() for pipe in pipes) == 1
    for process in processes:
        process.join()


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "t").write_text("")
    with pytest.raises(InputError, match="/t: cannot be written"), claimed(tmp_path / "t"):
        pass
