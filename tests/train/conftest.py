"""A small text that every test of training shares."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made():
    """The module `made_text`, which is also a program."""
    spec = importlib.util.spec_from_file_location("made_text", Path(__file__).with_name("made_text.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def text(made, tmp_path_factory):
    return made.made_text(tmp_path_factory.mktemp("made"))
