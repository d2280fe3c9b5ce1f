"""A changed computation cannot pass for the old one, and an unchanged one keeps its number."""

import importlib.util
import json
from pathlib import Path

import pytest

from moebook.train import NUMERICS

spec = importlib.util.spec_from_file_location("golden", Path(__file__).with_name("golden.py"))
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return golden.losses(tmp_path_factory.mktemp("golden"))


def test_golden_losses_hold_under_this_numerics_version(found):
    stored = json.loads(golden.PATH.read_text())
    assert golden.verdict(stored, golden.platform_name(), found, NUMERICS) == ""
    for losses in stored["platforms"].values():  # other platforms round otherwise, and no more than that
        for name in found:
            assert found[name] == pytest.approx(losses[name], rel=1e-4)


def test_a_changed_loss_or_an_idle_new_number_is_noticed(found):
    stored = {"numerics": 1, "platforms": {"here": found}}
    changed = {**found, "dense": [found["dense"][0] + 1e-7, *found["dense"][1:]]}
    assert golden.verdict(stored, "here", found, 1) == ""
    assert "NUMERICS must go up" in golden.verdict(stored, "here", changed, 1)
    assert "no loss changed" in golden.verdict(stored, "here", found, 2)
    assert "--write" in golden.verdict(stored, "here", changed, 2)
