"""A tiny text and a study of it that trains in seconds."""

import json
import random
import re

import pytest

TINY = """
name: tiny
title: A study that trains in seconds
text: {source: folder, name: tiny}
family: {layers: 1, context: 32}
recipe: {warmup_tokens: 512}
sparsities: [0, 3/4]
seeds: [0]
grid:
  - {budgets: [1e8, 3e8], widths: [8]}
  - {budgets: 3e8, widths: 16, seeds: [0, 1], sparsities: 0}
"""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The cache of prepared texts, away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEBOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny():
    """The study file of this room's tests."""
    return TINY


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    """200 documents of made-up words."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(300)]
    rows = [json.dumps({"text": " ".join(draw.choices(words, k=400))}) for _ in range(200)]
    (folder / "words.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def write_study(tmp_path):
    """Write a study file, TINY unless said, under its name, and return its path."""

    def write(content=TINY):
        name = re.search(r"^name: (\S+)$", content, re.MULTILINE)
        path = tmp_path / f"{name[1] if name else 'tiny'}.yml"
        path.write_text(content)
        return path

    return write
