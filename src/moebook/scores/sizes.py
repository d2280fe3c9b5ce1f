"""How many items a model is scored on: more where a token costs more, always the first ones of one order.

A model of at least 4^j times `REFERENCE_FLOPS` a token (forward and backward) gets 2^j times the items of the
smallest, as far as they reach: larger models are trained for longer, differ by less, and have machines of
their own. Time grows as FLOPs^(3/2): seconds at width 32, below half a minute at width 128 on one core.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from moebook.architecture import ModelConfig, counts
from moebook.files import canonical_json, sha256_hex

#: Bytes that a scored passage or window has at most, whatever the model's context.
WINDOW = 128
REFERENCE_FLOPS = 2.5e5

#: Bytes that the smallest number of items of each task takes through a model, about; for estimates of time.
TASK_BYTES = {"blimp": 206_000, "wikitext2": 66_000, "other": 66_000, "words": 246_000, "recall": 100_000}
#: Bytes of its results by item, compressed, and of a file without any; for estimates of disk.
ITEM_BYTES = {"blimp": 3_200, "wikitext2": 1_300, "other": 1_300, "words": 850, "recall": 2_400}
FILE_BYTES = 600


def scored_bytes(tasks: Sequence[str], model: ModelConfig) -> int:
    """How many bytes these tasks take through a model, about."""
    return multiple(model) * sum(TASK_BYTES[name] for name in tasks)


def items_bytes(tasks: Sequence[str], model: ModelConfig) -> int:
    """Bytes of the file of results by item that a run of this model leaves, about."""
    return FILE_BYTES + multiple(model) * sum(ITEM_BYTES[name] for name in tasks)


def multiple(model: ModelConfig) -> int:
    """The factor of the smallest number of items: a power of two."""
    factor, flops = 1, counts(model).flops_per_token / REFERENCE_FLOPS
    while flops >= 4 * factor**2:
        factor *= 2
    return factor


def by_hash(names: Sequence[str], salt: str) -> list[int]:
    """A fixed order without meaning: numbers of the names by the hash of each."""
    return sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{salt} {names[i]}".encode()).digest())


def pool_hash(items: object) -> str:
    """16 hex digits of the hash of all items in their order."""
    return sha256_hex(canonical_json(items))[:16]
