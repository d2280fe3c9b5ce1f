"""The live lesson trains what it says it trains."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from moebook.book import lessons


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = Path(__file__).resolve().parent.parent / "train" / "made_text.py"
    spec = importlib.util.spec_from_file_location("made_text", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_text(tmp_path_factory.mktemp("lesson"))


def test_both_models_get_the_same_compute_and_learn(text):
    dense, sparse = lessons.teach(text, (0, 3 / 4), width=16, compute_flops=2e9)
    for lesson in (dense, sparse):
        spent = lesson.tokens * lesson.counts.flops_per_token
        assert abs(spent / 2e9 - 1) < 0.05
        assert lesson.loss_nats < np.log(256)
    assert dense.config.experts == 1 and sparse.config.experts == 8
    assert sparse.load_LE.shape == (2, 8) and np.allclose(sparse.load_LE.sum(1), 1)
    words = lessons.in_words(dense, sparse)
    better = "sparse" if sparse.loss_nats < dense.loss_nats else "dense"
    assert words["lesson_dense"] == f"{dense.loss_nats:.3f}"
    assert f"The {better} one is better" in words["lesson_verdict"] or "equal" in words["lesson_verdict"]


def test_the_verdict_tells_who_saw_more():
    from dataclasses import replace

    from moebook.architecture import Family, counts

    config = Family().config(16, 3 / 4)
    one = lessons.Lesson(config, counts(config), 1000, [1], [5], 2.0, 0.1, np.full((2, 8), 1 / 8), 1.0)
    worse_and_longer = replace(one, loss_nats=2.1, tokens=1100)
    verdict = lessons.in_words(worse_and_longer, one)["lesson_verdict"]
    assert verdict == "The sparse one is better by 0.100, although it was trained on fewer bytes."
    better_and_longer = replace(one, loss_nats=1.9, tokens=1100)
    verdict = lessons.in_words(better_and_longer, one)["lesson_verdict"]
    assert verdict == "The dense one is better by 0.100, trained on more bytes."
    as_long = lessons.in_words(replace(better_and_longer, tokens=1000), one)["lesson_verdict"]
    assert as_long == "The dense one is better by 0.100."


def test_a_short_held_out_text_keeps_whole_documents(text):
    short = lessons.first_documents(text, heldout_bytes=len(text.heldout_T) // 3)
    assert 2 <= len(short.heldout_starts) <= len(text.heldout_starts)
    assert np.array_equal(short.heldout_T, text.heldout_T[: len(short.heldout_T)])
    if len(short.heldout_starts) < len(text.heldout_starts):
        assert len(short.heldout_T) == text.heldout_starts[len(short.heldout_starts)] - 1
