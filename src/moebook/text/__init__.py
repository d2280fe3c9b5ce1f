"""Text: from installed sources, a folder or a data set to two checked streams of bytes.

A corpus is prepared once into the cache, as a train and a held-out file, and memory-mapped from then on:

>>> text = load_text(TextSpec("packages", "packages"))
>>> train_batch(text, context=128, batch=4, step=0, seed=1).shape
(4, 129)
>>> windows = heldout_windows(text, context=128)
"""

from moebook.text.cache import Text, check_text
from moebook.text.load import load_text
from moebook.text.prepare import leaked_documents
from moebook.text.progress import progress_bars
from moebook.text.spec import TextSpec
from moebook.text.windows import HeldoutWindows, batch_windows, heldout_windows, train_batch, window_count

__all__ = [
    "HeldoutWindows",
    "Text",
    "TextSpec",
    "batch_windows",
    "check_text",
    "heldout_windows",
    "leaked_documents",
    "load_text",
    "progress_bars",
    "train_batch",
    "window_count",
]
