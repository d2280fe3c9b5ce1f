"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public tables and texts beside the checkout (or `MOEBOOK_SHARED`)."""
    folder = Path(os.environ.get("MOEBOOK_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip("needs the public tables and texts beside the checkout, or MOEBOOK_SHARED naming them")
    return folder
