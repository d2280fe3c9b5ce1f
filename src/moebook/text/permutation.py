"""A keyed permutation of 0 .. n - 1 that needs no memory: a Feistel network with cycle walking.

Source: Black and Rogaway, "Ciphers with arbitrary finite domains" (CT-RSA 2002), generalised Feistel and
cycle walking; the round function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Good
mixing is asked of it, not secrecy.
"""

from __future__ import annotations

import hashlib

import numpy as np

ROUNDS = 6


def permuted(indices: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
    """Images of `indices` under the permutation of 0 .. count - 1 keyed by (seed, epoch): int64."""
    half_bits = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    digest = hashlib.sha512(f"moebook order {seed} {epoch}".encode()).digest()
    keys = np.frombuffer(digest, dtype="<u8")[:ROUNDS].astype(np.uint64)
    images = np.asarray(indices).astype(np.uint64)
    outside = np.ones(images.shape, dtype=bool)
    # The network permutes 4^half_bits numbers, less than four times `count` (or a few where count is tiny);
    # walking on from an image outside of the range ends inside it, and the walk is itself a permutation.
    while outside.any():
        images[outside] = _network(images[outside], half_bits, keys)
        outside = images >= np.uint64(count)
    return images.astype(np.int64)


def _network(values: np.ndarray, half_bits: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = values >> half_bits, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << half_bits) | right


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
