"""Last-word choice on held-out books: which of four words ends the clause, given what comes before it?

After LAMBADA (Paperno et al. 2016, arXiv 1606.06031), cut down to 128 bytes and to a choice. The target is a
lower-case word of four to twelve letters right before a comma, stop, colon, semicolon, question or
exclamation mark; the passage before it is as many whole words as fit, white space taken together. The three
others are last words of the same length elsewhere in the books, drawn as often as they occur, none of them
in the passage. A word's log-probability includes the mark behind it, so that it must end there.

Half of the targets stand in the passage already (`seen`: copying is enough), half do not (`unseen`).
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moebook.model import Decoder
from moebook.scores.likelihood import START, nats
from moebook.scores.scored import Scored, choices
from moebook.scores.sizes import WINDOW, by_hash, pool_hash

SMALLEST = 256  # passages of each half
CHOICES = 4
LARGEST = 4096  # passages of each half that are kept
_LAST = re.compile(r"(?<=[ (])([a-z]{4,12})([,.;:?!])(?= )")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Passages:
    """Passages (passage, mark, target, other, other, other) in order: seen, unseen, seen, ..."""

    passages: tuple[tuple[str, ...], ...]
    pool: str


def pool(books: Sequence[str]) -> Passages:
    """The passages of some books, in the order of subsets."""
    halves: dict[bool, list[tuple[str, str, str]]] = {True: [], False: []}
    endings: dict[int, list[str]] = {}
    for book in books:
        book = " ".join(book.replace("\0", "").split())
        for match in _LAST.finditer(book):
            target, mark = match.groups()
            endings.setdefault(len(target), []).append(target)
            passage = _before(book, match.start(), WINDOW - len(target) - 1)
            halves[target in _words(passage)].append((passage, mark, target))
    kept = []
    for seen, found in halves.items():
        order = by_hash(["|".join(item) for item in found], f"moebook words {seen}")
        whole = (found[i] + _others(*found[i], endings[len(found[i][2])]) for i in order)
        kept.append(list(itertools.islice((item for item in whole if len(item) == 2 + CHOICES), LARGEST)))
    passages = tuple(item for pair in zip(*kept, strict=False) for item in pair)  # as many of each
    return Passages(passages, pool_hash(passages))


def last_words(model: Decoder, found: Passages, multiple: int = 1) -> Scored:
    """The share of targets more likely than the other three, over the first `multiple * SMALLEST` pairs."""
    passages = found.passages[: 2 * multiple * SMALLEST]
    heads = [START + passage.encode() for passage, *_ in passages]
    sequences = [
        head + (word + mark).encode()
        for head, (_, mark, *words) in zip(heads, passages, strict=True)
        for word in words
    ]
    first = [len(head) for head in heads for _ in range(CHOICES)]
    nats_PC = nats(model, sequences, first).reshape(-1, CHOICES)
    parts = np.where(np.arange(len(passages)) % 2, "unseen", "seen")
    return choices(nats_PC[:, 1:].min(1) - nats_PC[:, 0], parts, parts, 1 / CHOICES, found.pool)


def _before(book: str, end: int, most: int) -> str:
    """The whole words before a place, as many as fit into `most` bytes."""
    start = max(0, end - most)
    while len(book[start:end].encode()) > most:
        start += 1
    if start and book[start - 1] != " ":
        start = book.index(" ", start) + 1
    return book[start:end]


def _words(passage: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(passage)}


def _others(passage: str, mark: str, target: str, endings: Sequence[str]) -> tuple[str, ...]:
    """Three words of `endings` that are neither the target nor in the passage; fewer where there are none."""
    chosen: list[str] = []
    barred = _words(passage) | {target}
    for draw in range(100):
        digest = hashlib.sha256(f"{passage}|{target}|{draw}".encode()).digest()
        word = endings[int.from_bytes(digest[:8], "big") % len(endings)]
        if word not in barred:
            barred.add(word)
            chosen.append(word)
            if len(chosen) == CHOICES - 1:
                break
    return tuple(chosen)
