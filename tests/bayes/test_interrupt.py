"""Ctrl-C ends a fit: no half-sampled posterior is stored, and an earlier one stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

from moebook.bayes.interrupt import ended_by_ctrl_c

ROWS = [(1e6 * 2**i, 1e8 * 3**j, 1.7 + 400 / (1e6 * 2**i) ** 0.34 + 410 / (1e8 * 3**j) ** 0.28)
        for i in range(5) for j in range(4)]  # fmt: skip


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a terminal's process has it; a process in the background begins by ignoring it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    """Ctrl-C, and what the sampler is at meanwhile."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_an_interrupt_that_the_sampler_swallows_is_raised(ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        with ended_by_ctrl_c():
            try:
                press()
            except KeyboardInterrupt:
                pass  # as the sampler does, which then returns the draws that it has
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_it_leaves_broken_is_no_error_of_its_own(ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        with ended_by_ctrl_c():
            try:
                press()
            except KeyboardInterrupt:
                raise ValueError("draws of unequal length") from None
    with pytest.raises(ValueError, match="an error of its own"):
        with ended_by_ctrl_c():
            raise ValueError("an error of its own")


@pytest.mark.slow
def test_a_fit_that_is_interrupted_leaves_the_stored_posterior(tmp_path):
    table = tmp_path / "runs.csv"
    lines = ["N,D,loss", *(f"{n},{d},{loss + 0.002 * (i % 3 - 1)}" for i, (n, d, loss) in enumerate(ROWS))]
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "posterior.nc").write_bytes(b"an earlier one")
    (out / "summary.json").write_bytes(b"{}")
    words = ["fit", str(table), "--law", "chinchilla", "--out", str(out), "--force", "--draws", "200000"]
    run = subprocess.Popen(
        [sys.executable, "-m", "moebook", *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    said = ""
    while "sampling 4 chains" not in said:
        line = run.stderr.readline()
        assert line, f"ended before it sampled: {said}"
        said += line
    time.sleep(3)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, rest = run.communicate(timeout=60)
    assert run.returncode == 130, said + rest
    assert (out / "posterior.nc").read_bytes() == b"an earlier one"
    assert (out / "summary.json").read_bytes() == b"{}"
