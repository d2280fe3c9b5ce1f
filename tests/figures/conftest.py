"""The browser in which live figures are tried."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium with no network; skips with a sentence where there is none."""
    path = Path(__file__).resolve().parent.parent / "book" / "chromium.py"
    spec = importlib.util.spec_from_file_location("chromium", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    executable = module.find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: live figures are tried in a browser")
    browser = module.Chromium(executable)
    yield browser
    browser.close()
