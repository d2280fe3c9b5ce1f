"""Which bytes make a batch, and how the held-out set is cut into windows.

Legend: B sequences of a batch, T context, W held-out windows. A window holds T + 1 bytes: positions 0 to
T - 1 are inputs, positions 1 to T what they must predict.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from moebook.errors import InputError
from moebook.text.cache import Text
from moebook.text.permutation import permuted


def window_count(text_or_length: Text | int, context: int) -> int:
    """Number of train windows whose predicted bytes do not overlap: (length - 1) // context."""
    length = text_or_length if isinstance(text_or_length, int) else len(text_or_length.train_T)
    return max(0, (length - 1) // context)


def batch_windows(text_or_length: Text | int, context: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Where the windows of batch `step` start in the train stream, in bytes: int64 [B].

    Batches walk through all windows in an order that depends on seed, length and context only, and visit
    each of them once before any comes again; pass e over the text has its own order, keyed by (seed, e).
    There is no state: step 10^9 costs what step 0 costs.

    Raises InputError where the text is shorter than one batch.
    """
    count = window_count(text_or_length, context)
    if context < 1 or batch < 1 or step < 0:
        raise InputError(f"batch: context {context}, batch {batch}, step {step}: must be 1, 1 and 0 or more")
    if count < batch:
        name = "text" if isinstance(text_or_length, int) else f"text {text_or_length.name}"
        length = text_or_length if isinstance(text_or_length, int) else len(text_or_length.train_T)
        raise InputError(
            f"{name}: train: {length} bytes: shorter than one batch of {batch} sequences of {context} bytes, "
            f"which takes {batch * context + 1}"
        )
    first = step * batch
    indices_B = np.empty(batch, dtype=np.int64)
    done = 0
    while done < batch:  # a batch at the end of a pass goes on into the next
        epoch, within = divmod(first + done, count)
        take = min(batch - done, count - within)
        indices_B[done : done + take] = permuted(np.arange(within, within + take), count, seed, epoch)
        done += take
    return indices_B * context


def train_batch(text: Text, context: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Batch `step` of the train stream: uint8 [B, T + 1]; order and errors as in `batch_windows`."""
    starts_B = batch_windows(text, context, batch, step, seed)
    return np.asarray(text.train_T[starts_B[:, None] + np.arange(context + 1)])


class HeldoutWindows(NamedTuple):
    """The held-out set in windows; every byte of every document is predicted exactly once.

    A window never crosses a document. The first of a document starts with the separator, each later one with
    the last byte that the one before it predicted; the last is padded with separators, which do not count.
    """

    windows_WT: np.ndarray
    """uint8 [W, T + 1]."""
    lengths_W: np.ndarray
    """int64 [W]: how many of a window's T predictions count; they come first."""
    documents_W: np.ndarray
    """int64 [W]: which document, from 0."""

    @property
    def mask_WT(self) -> np.ndarray:
        """bool [W, T]: which predictions count."""
        return np.arange(self.windows_WT.shape[1] - 1)[None, :] < self.lengths_W[:, None]


def heldout_windows(text: Text, context: int) -> HeldoutWindows:
    """The whole held-out set as windows of `context` predictions each, in the order of the documents."""
    if context < 1:
        raise InputError(f"held-out windows: context: {context}: must be 1 or more")
    starts_D = text.heldout_starts
    lengths_D = np.diff(np.append(starts_D, len(text.heldout_T) + 1)) - 1  # less the next one's separator
    windows_D = -(-lengths_D // context)
    documents_W = np.repeat(np.arange(len(starts_D)), windows_D)
    within_W = np.arange(len(documents_W)) - np.repeat(np.cumsum(windows_D) - windows_D, windows_D)
    lengths_W = np.minimum(context, lengths_D[documents_W] - within_W * context)
    first_W = starts_D[documents_W] - 1 + within_W * context  # the byte before the first one predicted
    places_WT = first_W[:, None] + np.arange(context + 1)
    inside_WT = np.arange(context + 1)[None, :] <= lengths_W[:, None]
    windows_WT = np.asarray(text.heldout_T)[np.where(inside_WT, places_WT, 0)]
    return HeldoutWindows(np.where(inside_WT, windows_WT, np.uint8(0)), lengths_W, documents_W)
