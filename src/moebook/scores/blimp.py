"""BLiMP: of two sentences that differ in one point of grammar, is the grammatical one more likely?

Warstadt et al. 2020 (doi 10.1162/tacl_a_00321). Whole sentences, each after a separator; the sum over their
bytes, not the mean. Pairs are drawn from each paradigm (67, a thousand pairs each) in equal number, so that
the score estimates that of the whole; paradigms are the strata of the standard error, phenomena (13) the
parts. Pairs with a sentence of over 128 bytes (22 of 67,000) are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moebook.model import Decoder
from moebook.scores.likelihood import START, nats
from moebook.scores.scored import Scored, choices
from moebook.scores.sizes import WINDOW, by_hash, pool_hash

SMALLEST = 32  # pairs of a paradigm
CHANCE = 0.5


@dataclass(frozen=True)
class Pairs:
    """Pairs (phenomenon, paradigm, good, bad): the first of each paradigm, then the second of each, ..."""

    pairs: tuple[tuple[str, str, str, str], ...]
    paradigms: int
    pool: str


def pool(rows: Sequence[tuple[str, ...]]) -> Pairs:
    """Every pair that fits, in the order of subsets, from (phenomenon, paradigm, number, good, bad)."""
    of_paradigm: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        if max(len(sentence.encode()) for sentence in row[3:]) <= WINDOW:
            of_paradigm.setdefault(row[1], []).append(row)
    for name, listed in of_paradigm.items():
        order = by_hash([row[2] for row in listed], f"moebook blimp {name}")
        of_paradigm[name] = [listed[i] for i in order]
    rounds = min(map(len, of_paradigm.values()), default=0)
    kept = [of_paradigm[name][i] for i in range(rounds) for name in sorted(of_paradigm)]
    return Pairs(tuple((r[0], r[1], r[3], r[4]) for r in kept), len(of_paradigm), pool_hash(kept))


def blimp(model: Decoder, found: Pairs, multiple: int = 1) -> Scored:
    """The share of pairs right, over the first `multiple * SMALLEST` pairs of each paradigm."""
    pairs = found.pairs[: multiple * SMALLEST * found.paradigms]
    nats_P2 = nats(model, [START + s.encode() for pair in pairs for s in pair[2:]]).reshape(-1, 2)
    strata, parts = np.array([pair[1] for pair in pairs]), np.array([pair[0] for pair in pairs])
    return choices(nats_P2[:, 1] - nats_P2[:, 0], strata, parts, CHANCE, found.pool)
