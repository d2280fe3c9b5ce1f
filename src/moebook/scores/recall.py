"""Few-shot key-value recall out of the context: look up, in a list that is in the context, a key's value.

An episode is a line such as `Kf Bt Ra Bt`: three keys (capitals), each with its value (a small letter), then
one of the keys again with its value. With n shots, n whole lines about other lists come first; the last line
ends before its value. The answer is a choice among the three values of the last list, so that chance is a
third at every number of shots, and the earlier lines serve to show the task, no more.

Nothing is to be known but what the context says: the small-scale relative of reading comprehension, where
Abnar et al. (2025) find denser models ahead. Induction, [A][B] ... [A] -> [B] (Olsson et al. 2022, arXiv
2209.11895), solves it. Every number of shots has the same last lines, and the fewer shots are the last of the
more, so that numbers of shots pair item by item too.
"""

from __future__ import annotations

import hashlib

import numpy as np

from moebook.model import Decoder
from moebook.scores.likelihood import START, next_byte
from moebook.scores.scored import Scored, choices
from moebook.scores.sizes import pool_hash

SMALLEST = 512  # last lines
SHOTS = (0, 1, 4, 8)
PAIRS = 3
KEYS, VALUES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"


def episode(item: int, line: int) -> tuple[bytes, bytes]:
    """Line `line` of an item (0 is the last one): all of it, and the list's values, the right one first."""
    draw = hashlib.sha512(f"moebook recall {item} {line}".encode()).digest()
    keys = sorted(KEYS, key=lambda letter: draw[letter - KEYS[0]])[:PAIRS]
    values = sorted(VALUES, key=lambda letter: draw[26 + letter - VALUES[0]])[:PAIRS]
    asked = draw[-1] % PAIRS
    pairs = [bytes(pair) for pair in zip(keys, values, strict=True)]
    others = values[:asked] + values[asked + 1 :]
    return b" ".join([*pairs, pairs[asked]]) + b"\n", bytes([values[asked], *others])


def prompt(item: int, shots: int) -> tuple[bytes, bytes]:
    """The context that an answer is asked after, and its choices, the right one first."""
    last, values = episode(item, 0)
    lines = [episode(item, line)[0] for line in range(shots, 0, -1)]
    return START + b"".join(lines) + last[:-2], values


def recall(model: Decoder, multiple: int = 1) -> Scored:
    """The share of values recalled, over `multiple * SMALLEST` last lines at each number of shots.

    Items stand by last line, and within one by number of shots.
    """
    prompts = [prompt(item, shots) for item in range(multiple * SMALLEST) for shots in SHOTS]
    log_p_IV = next_byte(model, [context for context, _ in prompts])
    values_IC = np.array([list(values) for _, values in prompts])
    log_p_IC = np.take_along_axis(log_p_IV, values_IC, axis=1)
    lines_I = np.repeat(np.arange(multiple * SMALLEST), len(SHOTS))
    shots_I = np.tile([str(shots) for shots in SHOTS], multiple * SMALLEST)
    margins = log_p_IC[:, 0] - log_p_IC[:, 1:].max(1)
    rule = pool_hash([[part.decode() for part in prompt(item, max(SHOTS))] for item in range(SMALLEST)])
    return choices(margins, shots_I, shots_I, 1 / PAIRS, rule, units=lines_I)
