"""Bits a byte on texts that the model was not trained on: WikiText-2, and the other corpus's held-out part.

Windows of 128 predicted bytes that never cross a document, as in the held-out loss, drawn without regard to
documents; a score estimates the bits a byte of the whole text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moebook.files import sha256_hex
from moebook.model import Decoder
from moebook.scores.likelihood import START, nats
from moebook.scores.scored import Scored, bits
from moebook.scores.sizes import WINDOW
from moebook.text import Text, heldout_windows
from moebook.text.permutation import permuted

SMALLEST = 512  # windows
#: A title of WikiText: a line ` = Title = `; sections have two and more of the signs.
_TITLE = re.compile(r"^ = (?!=).*(?<!=) = ?$", re.MULTILINE)


@dataclass(frozen=True)
class Windows:
    """Windows in the order of subsets. windows_WT: uint8 [W, 1 + T]; see `moebook.text.HeldoutWindows`."""

    windows_WT: np.ndarray
    lengths_W: np.ndarray
    documents_W: np.ndarray
    pool: str


def pool(text: Text) -> Windows:
    """All windows of a text's held-out part."""
    found = heldout_windows(text, WINDOW)
    count = len(found.lengths_W)
    order = permuted(np.arange(count), count, seed=0, epoch=0)
    windows_WT, lengths_W = found.windows_WT[order], found.lengths_W[order]
    digest = sha256_hex(windows_WT.tobytes() + lengths_W.astype("<i8").tobytes())[:16]
    return Windows(windows_WT, lengths_W, found.documents_W[order], digest)


def articles(text: str) -> Text:
    """WikiText as a text that is held out whole, an article a document."""
    starts = [match.start() for match in _TITLE.finditer(text)] or [0]
    ends = [*starts[1:], len(text)]
    documents = [text[a:b].encode().replace(b"\0", b"") for a, b in zip(starts, ends, strict=True)]
    stream = b"".join(START + document for document in documents)
    lengths = np.array([len(document) + 1 for document in documents])
    return Text(
        name="wikitext2", sha256=sha256_hex(stream), vocab=256, train_T=np.empty(0, np.uint8),
        heldout_T=np.frombuffer(stream, np.uint8), heldout_starts=np.cumsum(lengths) - lengths + 1,
        manifest={}, folder=Path(),
    )  # fmt: skip


def bits_a_byte(model: Decoder, found: Windows, multiple: int = 1) -> Scored:
    """Bits a byte over the first `multiple * SMALLEST` windows."""
    part = slice(multiple * SMALLEST)
    lengths_W = found.lengths_W[part]
    windows = [w[: 1 + n].tobytes() for w, n in zip(found.windows_WT[part], lengths_W.tolist(), strict=True)]
    return bits(nats(model, windows), lengths_W, found.documents_W[part], found.pool)
