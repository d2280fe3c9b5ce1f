"""Colours that show on both pages."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from moebook.figures.style import of_sparsity


def luminance(color: str) -> float:
    """Relative luminance, as the accessibility guidelines of the web define it."""
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("count", [1, 2, 6, 8])
@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_every_sparsity_shows_on_a_light_and_on_a_dark_page(count, page):
    looks = of_sparsity([1 - 2.0**-k for k in range(count)])
    assert len(set(looks.values())) == count
    for color, _ in looks.values():
        low, high = sorted((luminance(color), luminance(page)))
        assert (high + 0.05) / (low + 0.05) >= 3  # what they ask of lines in figures
