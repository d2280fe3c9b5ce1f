"""The lowest point of sampled curves, between the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Minimum:
    """Minima of curves [..., points] on a common grid: each field [...].

    at: coordinate of the minimum; value: the curve there; low, high: it is the first, the last point.
    """

    at: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lowest(x: np.ndarray, y: np.ndarray) -> Minimum:
    """The minimum along the last axis of y [..., points] over x [points], refined by the parabola through
    the lowest point and its neighbours; at an end of the grid the end itself."""
    best = y.argmin(axis=-1)
    last = len(x) - 1
    value = np.take_along_axis(y, best[..., None], -1)[..., 0]
    if last < 2:
        return Minimum(x[best], value, best == 0, best == last)
    middle = np.clip(best, 1, last - 1)
    x0, x1, x2 = x[middle - 1], x[middle], x[middle + 1]
    y0, y1, y2 = (np.take_along_axis(y, (middle + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    # Newton's divided differences: y = y0 + first (x - x0) + second (x - x0)(x - x1)
    first = (y1 - y0) / (x1 - x0)
    second = ((y2 - y1) / (x2 - x1) - first) / (x2 - x0)
    inside = (best == middle) & (second > 0)
    vertex = np.where(inside, (x0 + x1) / 2 - first / (2 * np.where(inside, second, 1.0)), x[best])
    refined = y0 + first * (vertex - x0) + second * (vertex - x0) * (vertex - x1)
    return Minimum(vertex, np.where(inside, refined, value), best == 0, best == last)
