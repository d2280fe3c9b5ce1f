"""The run table as the chapters show it."""

import numpy as np
import pandas as pd
import pytest

from moebook.book import profiles
from moebook.book.contents import sizes
from moebook.book.say import likelihood, rounded, seconds
from moebook.errors import InputError
from moebook.figures.style import percent
from moebook.runs.table import load_table


@pytest.fixture(scope="module")
def table(record_store):
    return load_table(record_store)


def test_cells_average_over_seeds_and_plan_budgets_to_two_digits(table):
    runs = profiles.done_runs(table)
    assert sorted(set(runs["budget_flops"])) == [3e10, 1e11, 3e11]
    cells = profiles.cells(runs)
    assert len(cells) == 3 * 10 and set(cells["seeds"]) == {2}
    row = cells.iloc[0]
    alike = [("budget_flops", "compute_flops"), ("sparsity", "sparsity"), ("width", "width")]
    same = runs[np.logical_and.reduce([runs[a] == row[b] for a, b in alike])]
    assert np.isclose(row["loss_nats"], same["loss_nats"].mean())
    assert np.isclose(row["loss_sd_nats"], same["loss_nats"].std(ddof=1))


def seeded_runs(shared, own, seeds=(0, 1, 2), sparsities=(0.0, 0.5, 0.75, 0.9)):
    """Runs whose losses have a part that all sparsities of a width and seed share, and one of their own."""
    rng, rows = np.random.default_rng(0), []
    for width in range(8, 48):
        for seed in seeds:
            common = shared * rng.standard_normal()
            rows += [
                {"text": "t", "budget_flops": 1e10, "width": width, "seed": seed, "sparsity": s,
                 "params": 1, "params_active": 1, "tokens": 1,
                 "loss_nats": 2 + s / 10 + common + own * rng.standard_normal()}
                for s in sparsities
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_seeds_share_drops_out_of_a_difference():
    runs = seeded_runs(shared=0.05, own=0.01)
    replicates = profiles.replicates(runs)
    assert np.isclose(profiles.same_seed_sd_nats(replicates), np.sqrt(2) * 0.01, rtol=0.15)
    assert np.isclose(profiles.seed_sd_nats(replicates), np.hypot(0.05, 0.01), rtol=0.15)
    assert profiles.same_seed_sd_nats(replicates[replicates["sparsity"] == 0]) is None


def test_a_seed_that_only_some_cells_have_moves_none_of_them():
    """Planted: of each width three sparsities have three seeds, one has the first alone."""
    runs = seeded_runs(shared=0.05, own=0.0)
    some = runs[(runs["sparsity"] < 0.9) | (runs["seed"] == 0)]
    cells = profiles.cells(some)
    gain = cells.pivot(index="width", columns="sparsity", values="loss_nats")
    np.testing.assert_allclose(gain[0.9] - gain[0.0], 0.09, atol=1e-12)
    np.testing.assert_allclose(gain[0.75] - gain[0.0], 0.075, atol=1e-12)
    whole = profiles.cells(runs).pivot(index="width", columns="sparsity", values="loss_nats")
    np.testing.assert_allclose(gain, whole, atol=1e-12)


def test_a_width_whose_cells_have_no_seed_in_common_keeps_its_losses():
    runs = seeded_runs(shared=0.0, own=0.0, seeds=(0,))
    apart = runs.assign(seed=(100 * runs["sparsity"]).astype(int))
    cells = profiles.cells(apart)
    assert len(cells) == len(runs) and np.allclose(cells["loss_nats"], 2 + cells["sparsity"] / 10)


def test_a_parabola_finds_the_best_sparsity_of_a_bowl_and_none_at_its_end():
    sparsities = 1 - 2.0 ** -np.arange(8)
    slack = -np.log1p(-sparsities)
    bowl = pd.DataFrame({"compute_flops": 1e12, "sparsity": sparsities})
    inside = bowl.assign(loss_nats=1.5 + 0.02 * (slack + np.log1p(-0.95)) ** 2)
    assert profiles.parabola_sparsity(inside, 1e12) == pytest.approx(0.95)
    falling = bowl.assign(loss_nats=1.5 - 0.02 * slack)
    assert profiles.parabola_sparsity(falling, 1e12) is None


def test_a_run_without_a_loss_enters_no_mean_but_is_counted(table):
    assert (table["status"] == "diverged").sum() == 1
    assert profiles.done_runs(table)["loss_nats"].notna().all()
    assert list(profiles.overview(table, 0.2)["diverged"]) == [1]


def made_cells(losses, sparsity=0.0, budget=3e10):
    widths = [12, 16, 24, 32][: len(losses)]
    return pd.DataFrame(
        {"compute_flops": budget, "sparsity": sparsity, "width": widths, "params": widths,
         "params_active": widths, "tokens": 1, "seeds": 1, "loss_sd_nats": np.nan, "loss_nats": losses}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "bracketed", "flag", "width"),
    [
        ([2.5, 2.4, 2.45], True, "", 16),
        ([2.4, 2.5, 2.6], False, "smallest", 12),
        ([2.6, 2.5, 2.4], False, "largest", 24),
        ([2.4], False, "one size only", 12),
    ],
)
def test_a_best_size_at_the_end_of_its_row_is_flagged(losses, bracketed, flag, width):
    [best] = profiles.best_sizes(made_cells(losses)).to_dict("records")
    assert (best["bracketed"], best["flag"], best["width"]) == (bracketed, flag, width)


@pytest.mark.parametrize(
    ("losses", "margin"),
    [
        ([2.5, 2.4, 2.45], 0.05),
        ([2.41, 2.4, 2.405, 2.6], 0.01),  # of a side the worst counts: the larger one is worse by .2
        ([2.9, 2.405, 2.4, 2.43], 0.03),
        ([2.4, 2.5, 2.6], np.nan),
        ([2.4], np.nan),
    ],
)
def test_the_margin_of_a_best_size_is_that_of_its_flatter_side(losses, margin):
    [best] = profiles.best_sizes(made_cells(losses)).to_dict("records")
    assert best["margin_nats"] == pytest.approx(margin, nan_ok=True)


def noisy_rows(margins, sds, seeds=40):
    """Runs of one text, a budget each: three widths whose middle is best by `margin`, the first repeated
    with a spread of exactly `sd`."""
    rows = []
    for index, (margin, sd) in enumerate(zip(margins, sds, strict=True)):
        spread = np.resize([1.0, -1.0], seeds) * sd * np.sqrt((seeds - 1) / seeds)
        losses = [(12, 0, 2.5), (16, 0, 2.4), (24, 0, 2.4 + margin)]
        if sd:
            losses += [(12, seed, 2.5 + off) for seed, off in enumerate(spread)]
            losses = losses[1:]
        rows += [
            {"text": "packages", "status": "done", "purpose": "", "compute_flops": 10.0**index * 3e10,
             "budget_flops": 10.0**index * 3e10, "sparsity": 0.0, "width": width, "seed": seed,
             "params": width, "params_active": width, "tokens": 1, "loss_nats": loss}
            for width, seed, loss in losses
        ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_margin_is_held_against_the_noise_of_its_own_budget():
    runs = noisy_rows(margins=[0.02, 0.02], sds=[0.02, 0.01])
    noise = profiles.difference_sd_nats(runs)
    assert noise == pytest.approx({3e10: np.sqrt(2) * 0.02, 3e11: np.sqrt(2) * 0.01})
    best = profiles.best_sizes(profiles.cells(runs))
    assert profiles.within_noise(best, noise) == [True, False]


def test_a_budget_without_a_second_seed_has_the_noise_of_the_others():
    runs = noisy_rows(margins=[0.02, 0.01], sds=[0.01, 0.0])
    noise = profiles.difference_sd_nats(runs)
    assert noise == pytest.approx({3e10: np.sqrt(2) * 0.01, 3e11: np.sqrt(2) * 0.01})
    assert profiles.difference_sd_nats(runs[runs["seed"] == 0]) == {}


def test_what_is_bracketed_by_less_than_noise_is_said(monkeypatch):
    monkeypatch.setattr(sizes, "texts", lambda: ["packages"])
    runs = noisy_rows(margins=[0.02, 0.02], sds=[0.02, 0.01])
    said = sizes.bracketing(runs)
    assert "2 of 2 rows are bracketed, 1 of them with one side within noise" in said
    assert "(0.014 to 0.028 nats per byte, by budget)" in said
    shown = sizes.best_size_table(runs, "packages")
    assert shown.count("<td>bracketed, one side within noise</td>") == 1
    assert shown.count("<td>bracketed</td>") == 1 and shown.count(">0.020</td>") == 2
    clear = sizes.bracketing(noisy_rows(margins=[0.05], sds=[0.01]))
    assert clear.endswith("1 of 1 rows are bracketed, all of them by more than noise.")
    unmeasured = sizes.bracketing(runs[runs["seed"] == 0])
    assert "cannot be told" in unmeasured and "within noise" not in unmeasured


def test_seed_noise_is_recovered(table):
    runs = profiles.done_runs(table)
    replicates = profiles.replicates(runs)
    relative = profiles.seed_sd_nats(replicates) / runs["loss_nats"].mean()
    assert 0.003 < relative < 0.007, "the made-up noise is half a per cent"


def test_seed_noise_without_replicates_is_refused(table):
    with pytest.raises(InputError, match="no cell has two seeds"):
        profiles.seed_sd_nats(profiles.replicates(profiles.done_runs(table[table["seed"] == 0])))


def test_gain_compares_best_with_best():
    cells = pd.concat(
        [made_cells([2.5, 2.4, 2.45]), made_cells([2.38, 2.3, 2.35], 0.75), made_cells([2.36], 0.9)]
    )
    gain, sparsity = profiles.gain_nats(profiles.best_sizes(cells), 3e10)
    assert np.isclose(gain, 0.1) and sparsity == 0.75
    pairs = profiles.width_pairs(cells)
    assert len(pairs) == 4 and (pairs["loss_nats"] < pairs["loss_nats_dense"]).all()
    assert np.isclose(profiles.neighbour_loss_nats(cells), np.median([0.1, 0.05, 0.08, 0.05]))
    with pytest.raises(InputError, match="none but dense"):
        profiles.gain_nats(profiles.best_sizes(made_cells([2.5, 2.4, 2.45])), 3e10)


def test_no_done_run_of_a_text_is_named(table):
    with pytest.raises(InputError, match="'latin'"):
        profiles.done_runs(table, "latin")


def test_the_shared_trunk_of_several_runs_is_counted_once():
    alike = {"study": "s", "text": "t", "width": 8, "sparsity": 0.0, "seed": 0, "learning_rate": 0.01,
             "batch_tokens": 512, "granularity": 2, "active": 2, "shared_experts": 0}  # fmt: skip
    rows = [alike | {"compute_flops": c, "wall_seconds": c / 10} for c in (100.0, 300.0)]
    rows.append(alike | {"seed": 1, "compute_flops": 50.0, "wall_seconds": 5.0})
    rows.append(alike | {"batch_tokens": 1024, "compute_flops": 7.0, "wall_seconds": 1.0})
    rows.append(alike | {"active": 1, "shared_experts": 1, "compute_flops": 9.0, "wall_seconds": 3.0})
    assert np.allclose(profiles.spent(pd.DataFrame(rows), 0.2), (300 + 20 + 50 + 7 + 9, 30 + 2 + 5 + 1 + 3))


def test_noise_by_cell_pools_what_was_repeated_and_nothing_else():
    rng = np.random.default_rng(0)
    rows = [
        {"text": "t", "budget_flops": budget, "sparsity": s, "width": w, "seed": seed,
         "loss_nats": 2.0 + w / 100 + sd * rng.standard_normal()}
        for budget, s, sd, seeds in ((3e10, 0.0, 0.01, 60), (3e10, 0.75, 0.04, 60), (1e11, 0.0, 0.1, 1))
        for w in (16, 24) for seed in range(seeds)
    ]  # fmt: skip
    found = profiles.noise_by_cell(pd.DataFrame(rows))
    cells = list(zip(found["budget_flops"], found["sparsity"], strict=True))
    assert cells == [(3e10, 0), (3e10, 0.75), (1e11, 0)]
    assert list(found["models"]) == [2, 2, 0] and list(found["runs"]) == [120, 120, 0]
    assert found["sd_nats"][:2].to_numpy() == pytest.approx([0.01, 0.04], rel=0.2)
    assert np.isnan(found["sd_nats"][2])


def test_words_for_numbers():
    assert [percent(p) for p in (0, 0.004, 0.5, 0.999)] == ["under 1 %", "under 1 %", "50 %", "over 99 %"]
    assert rounded(1.23456, 0.004) == "1.235" and rounded(12.3, 20) == "12"
    assert [seconds(s) for s in (4, 400, 9000)] == ["4 s", "7 min", "2.5 h"]
    assert [likelihood(p) for p in (0.99, 0.85, 0.5, 0.1, 0.01)] == [
        "very likely", "likely", "undecided", "unlikely", "very unlikely",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="uncertainty"):
        rounded(1, 0)
