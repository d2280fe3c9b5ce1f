"""Draws in two groups are said to be, and draws in one are not."""

import numpy as np
import pytest

from moebook.book.contents import groups

from_doublings = lambda at: 1 - 2.0**-at  # noqa: E731


def made(*parts):
    """Draws around places in doublings of E/K: (place, spread, draws) each."""
    rng = np.random.default_rng(0)
    return from_doublings(np.concatenate([rng.normal(place, spread, n) for place, spread, n in parts]))


@pytest.mark.parametrize(
    "parts", [[(5.2, 0.1, 1200), (6.2, 0.1, 1800)], [(4.0, 0.1, 700), (4.8, 0.15, 2300)]]
)
def test_two_groups_are_parted_between_them(parts):
    place = groups.split(made(*parts))
    low, high = (from_doublings(part[0]) for part in parts)
    assert low < place < high


@pytest.mark.parametrize("parts", [
    [(5.2, 0.4, 3000)], [(5.2, 0.3, 1500), (5.6, 0.3, 1500)], [(5.2, 0.1, 2900), (6.2, 0.1, 100)],
    [(6.0, 0.0, 3000)],
])  # fmt: skip
def test_one_group_is_not_parted(parts):
    assert groups.split(made(*parts)) is None


def test_the_sentence_names_both_and_their_shares(monkeypatch):
    from types import SimpleNamespace

    star = np.stack([made((5.2, 0.1, 1000), (6.2, 0.1, 3000)), made((5.2, 0.1, 4000))], axis=1)
    found = SimpleNamespace(compute_flops=np.array([1e12, 1e13]), sparsity_star=star)
    monkeypatch.setattr(groups, "answer", lambda text: found)
    said = groups.groups_in_words("english")
    assert "at 10¹² FLOPs, 25 % around 0.973, 75 % around 0.986." in said and "10¹³" not in said
    monkeypatch.setattr(groups, "split", lambda star: None)
    assert groups.groups_in_words("english") == ""
