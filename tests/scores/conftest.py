"""Models whose scores are known by hand, and small made files in the formats of the published ones."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from moebook.architecture import Family
from moebook.scores import sources


class Planted(nn.Module):
    """A model that is a rule: `rule(tokens [B, N])` gives its logits [B, N, 256]."""

    def __init__(self, rule, context=128):
        super().__init__()
        self.config = Family(context=context).config(32, 0)
        self.anchor = nn.Parameter(torch.zeros(()))  # says on which device it is
        self.rule = rule

    def forward(self, tokens_BN):
        return SimpleNamespace(logits_BNV=self.rule(tokens_BN))


@pytest.fixture
def planted():
    return Planted


@pytest.fixture
def table():
    """A model that knows one number for each byte, whatever comes before: log p of the bytes named, equal
    logits for the others."""

    def make(logits):
        row_V = torch.zeros(256)
        for byte, logit in logits.items():
            row_V[ord(byte)] = logit
        return Planted(lambda tokens_BN: row_V.expand(*tokens_BN.shape, 256))

    return make


@pytest.fixture
def copier():
    """A model that repeats: after a byte that stood earlier, it expects what came after it then (the last
    time); else it knows nothing."""

    def rule(tokens_BN):
        logits_BNV = torch.zeros(*tokens_BN.shape, 256)
        for row, tokens in enumerate(tokens_BN.tolist()):
            after = {}
            for place, byte in enumerate(tokens):
                if place:
                    after[tokens[place - 1]] = byte
                if byte in after:
                    logits_BNV[row, place, after[byte]] = 9.0
        return logits_BNV

    return Planted(rule)


PHENOMENA = {"agreement": ("agreement_1", "agreement_2"), "islands": ("islands_1",)}


def _pairs():
    """Forty pairs of each paradigm; the good sentence has an `a` where the bad one has an `e`."""
    for phenomenon, paradigms in PHENOMENA.items():
        for paradigm in paradigms:
            for number in range(40):
                words = {vowel: f"The c{vowel}t {number} of {paradigm} sang." for vowel in "ae"}
                yield {
                    "UID": paradigm, "pairID": str(number), "field": "syntax", "linguistics_term": phenomenon,
                    "sentence_good": words["a"], "sentence_bad": words["e"],
                }  # fmt: skip


def _book(title):
    lines = []
    for number in range(400):
        word = ("stone", "river", "apple", "horse", "house", "night", "bread", "light")[number % 8]
        again = word if number % 3 else "the thing"
        lines.append(f"In {title} there was {again} number {number}, and then, they said, came the {word}.")
    return "\n".join(lines)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of data in the published formats, whose checksums are the expected ones; no network."""
    folder = tmp_path / "data"
    (folder / "blimp").mkdir(parents=True)
    (folder / "blimp" / "blimp.jsonl").write_text("\n".join(map(json.dumps, _pairs())))
    body = "".join(f" \n = Article {n} = \n \n Text of <unk> article {n} . \n" * 3 for n in range(40))
    rows = [{"text": "other", "split": "val"}, {"text": body, "split": "test"}]
    (folder / "eval_wikitext2.jsonl").write_text("\n".join(map(json.dumps, rows)))
    books = [{"text": _book("the north"), "split": "val"}, {"text": _book("the south"), "split": "val"}]
    books.append({"text": "never read", "split": "train"})
    (folder / "books.jsonl").write_text("\n".join(map(json.dumps, books)))
    expect_made_files(monkeypatch, folder)
    return folder


def expect_made_files(monkeypatch, folder):
    """Take the checksums of what lies in a folder for the published ones, and the network away."""
    found = []
    monkeypatch.setattr(sources, "_expect", lambda content_sha256, *_: found.append(content_sha256))

    def unreachable(*_):
        raise sources.InputError("https://example.org/x: cannot be downloaded: no network")

    monkeypatch.setattr(sources, "download", unreachable)
