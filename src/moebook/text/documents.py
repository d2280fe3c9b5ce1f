"""What a source of text hands over: documents, and what tells one state of the source from another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from moebook.text.progress import Progress

BY_HASH, TRAIN, HELDOUT, TEST = range(4)
SPLITS = {
    "train": TRAIN,
    "val": HELDOUT,
    "valid": HELDOUT,
    "validation": HELDOUT,
    "test": TEST,
}
"""Words for a split that a row may carry, and the side each means; `test` is left out of both."""


class Document(NamedTuple):
    """One document, never cut by the split."""

    pieces: Iterable[bytes]
    """Its bytes, in pieces, so that one larger than memory can pass."""
    identity: str = ""
    """What its order and side are hashed from; empty = its bytes, so that equal documents share a side."""
    split: int = BY_HASH
    origin: str = ""
    """Label for the counts in the manifest: a distribution, a file."""


class Source(Protocol):
    """Where documents come from."""

    fingerprint: dict[str, Any]
    """Changes when the documents do; cheap to make, it is compared every time the text is loaded."""
    sha256: str
    """Checksum that the prepared text must have, "" = not known."""

    def documents(self, progress: Progress) -> Iterator[Document]:
        """Read all documents, in any order."""
        ...
