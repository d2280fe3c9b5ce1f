"""Loss against sparsity at fixed budget and size: interpolated between the runs, never beyond them."""

import numpy as np
import pandas as pd
import pytest

from moebook.book import profiles
from moebook.book.contents import fixed

#: N of the widths by sparsity: 100 to 400 is reached by three of the four, 200 lies in its middle.
SIZES = {0.0: (50, 100, 400), 0.5: (100, 200, 800), 0.75: (100, 300, 900), 0.875: (1000, 1600, 3200)}


def made(loss, sizes=SIZES, budget=1e12):
    """Cells whose loss is loss(N, S)."""
    rows = [
        {"compute_flops": budget, "sparsity": s, "width": w, "params": float(n), "params_active": w,
         "tokens": 1, "seeds": 1, "loss_sd_nats": np.nan, "loss_nats": loss(n, s)}
        for s, line in sizes.items() for w, n in enumerate(line)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_loss_that_is_straight_in_log_n_is_found_exactly():
    def loss(n, s):
        return 3 - 0.1 * (1 + s) * np.log(n)

    rows = profiles.at_sizes(made(loss))
    assert sorted(set(rows["params"])) == pytest.approx([100 * 2**0.5, 200, 200 * 2**0.5])
    np.testing.assert_allclose(rows["loss_nats"], loss(rows["params"], rows["sparsity"]))


def test_no_line_is_drawn_beyond_its_runs():
    rows = profiles.at_sizes(made(lambda n, s: 2.0))
    assert set(rows["sparsity"]) == {0.0, 0.5, 0.75}, "the sparsest has no model so small"
    assert set(rows.groupby("size")["sparsity"].count()) == {3}
    assert profiles.at_sizes(made(lambda n, s: 2.0, {0.0: (1, 2, 3), 0.5: (9, 10, 11)})).empty


def test_sizes_that_are_nearly_one_are_one():
    near = {0.0: (50, 100, 150), 0.5: (100, 200, 400), 0.75: (90, 300, 900)}
    rows = profiles.at_sizes(made(lambda n, s: 2.0, near))
    np.testing.assert_allclose(rows["params"], np.sqrt(100 * 150))
    assert list(rows["sparsity"]) == [0.0, 0.5, 0.75] and set(rows["size"]) == {0}


@pytest.mark.parametrize(
    ("losses", "between"),
    [
        ([2.5, 2.3, 2.4], (0.0, 0.75)),
        ([2.5, 2.3, 2.31], (0.0, np.nan)),  # worse, but by less than noise
        ([2.31, 2.3, 2.4], (np.nan, 0.75)),
        ([2.5, 2.4, 2.3], (0.5, np.nan)),
        ([2.3, 2.31, 2.4], (np.nan, 0.75)),
    ],
)
def test_what_is_worse_by_less_than_noise_bounds_nothing(losses, between):
    found = profiles.told_apart(np.array([0, 0.5, 0.75]), np.array(losses), 0.02)
    assert found == pytest.approx(between, nan_ok=True)


def as_runs(cells):
    """Two runs of each cell, .01 on either side of its loss."""
    both = [cells.assign(seed=seed, loss_nats=cells["loss_nats"] + 0.02 * seed - 0.01) for seed in (0, 1)]
    return pd.concat(both).assign(
        text="packages", status="done", purpose="", budget_flops=lambda rows: rows["compute_flops"]
    )


@pytest.fixture
def one_text(monkeypatch):
    monkeypatch.setattr(fixed, "texts", lambda: ["packages"])


WIDE = {s: (10, 100, 1000, 10_000, 100_000) for s in (0.0, 0.5, 0.75, 0.875, 0.9375)}


def test_a_best_sparsity_that_rises_with_n_is_seen(one_text):
    """Planted: the best number of doublings of E/K is log10(N) - 1, in steep bowls."""

    def loss(n, s):
        return 2 + 0.2 * abs(-np.log2(1 - s) - np.log10(n) + 1)

    said = fixed.fixed_params_in_words(as_runs(made(loss, WIDE)))
    assert "with N = 100, the lowest of 5 sparsities is 1/2, inside" in said
    assert "with N = 10 k, the lowest of 5 sparsities is 7/8, inside" in said
    assert "dense is worse than the best in 3 of the 3 lines" in said
    assert "both sides of the lowest point are worse in 3 of 3 lines" in said and "at 1 of 1 budgets" in said
    assert said.endswith("can be seen here without a law.")


def test_a_best_sparsity_at_the_end_settles_nothing(one_text):
    said = fixed.fixed_params_in_words(as_runs(made(lambda n, s: 2 - s, WIDE)))
    assert said.count("is 15/16, the sparsest") == 2
    assert "worse in 0 of 3 lines" in said and "at 0 of 1 budgets" in said
    assert said.endswith("cannot be read off these points.")
    dense = fixed.fixed_params_in_words(as_runs(made(lambda n, s: 2 + s, WIDE)))
    assert "is 0, the least sparse" in dense and "in 0 of the 3 lines" in dense


def test_a_panel_a_budget_and_the_caption_says_interpolated(one_text):
    cells = pd.concat([made(lambda n, s: 2 - s, WIDE), made(lambda n, s: 2 - s, WIDE, budget=3e12)])
    shown = fixed.fixed_params_figures(as_runs(cells), "packages")
    assert shown.count("<svg") == 2 and "interpolated" in shown
