"""The made-up runs of the book's tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def make_records():
    path = Path(__file__).resolve().parents[1] / "book" / "conftest.py"
    spec = importlib.util.spec_from_file_location("made_records", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.write_records
