"""The studies that wait for a GPU: what they would train, since nothing here can train them."""

from pathlib import Path

import pytest

from moebook.architecture import counts
from moebook.study import plan, read_study
from moebook.train import TextIdentity

ROOT = Path(__file__).resolve().parents[2]
TEXT = TextIdentity("english", "0" * 64)


def cells(name):
    """[(budget, sparsity, width, trunk)] of a committed study."""
    study = read_study(ROOT / "studies" / f"{name}.yml")
    return [
        (cell.budget_flops, round(trunk.model.sparsity, 6), trunk.model.width, trunk, cell)
        for trunk in plan(study, TEXT)
        for cell in trunk.cells
    ]


def test_every_budget_has_five_sizes_at_every_sparsity_and_repeated_seeds():
    sizes, seeds = {}, {}
    for budget, sparsity, width, trunk, _ in cells("gpu-english"):
        sizes.setdefault((budget, sparsity), set()).add(width)
        seeds.setdefault((budget, sparsity), set()).add(trunk.seed)
    assert {budget for budget, _ in sizes} == {1e14, 1e15, 1e16}
    assert {sparsity for _, sparsity in sizes} == {0, 0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375}
    assert all(len(widths) == 5 for widths in sizes.values())
    assert all(len(of_cell) >= 2 for of_cell in seeds.values())


def test_the_sizes_lie_about_the_best_ones_if_these_go_on_with_the_root_of_the_budget():
    """From the best size at 1e13 FLOPs, some 120 thousand active parameters."""
    sizes = {}
    for budget, sparsity, _, trunk, _ in cells("gpu-english"):
        sizes.setdefault((budget, sparsity), []).append(counts(trunk.model).params_active)
    for (budget, sparsity), active in sizes.items():
        best = 120e3 * (budget / 1e13) ** 0.5
        ordered = sorted(set(active))
        assert ordered[1] < best < ordered[-2], (budget, sparsity)


def test_the_held_out_budget_is_above_all_and_kept_out_of_fits():
    found = cells("held-out-gpu-english")
    assert read_study(ROOT / "studies" / "held-out-gpu-english.yml").purpose == "held-out"
    assert len({(sparsity, width) for _, sparsity, width, _, _ in found}) >= 12
    assert {budget for budget, *_ in found} == {1e17}


@pytest.mark.parametrize("name", ["gpu-english", "tune-gpu-english", "held-out-gpu-english"])
def test_they_train_on_the_text_and_the_family_of_the_english_table(name):
    study, base = (read_study(ROOT / "studies" / f"{n}.yml") for n in (name, "cpu-english"))
    assert (study.text, study.family) == (base.text, base.family)
    for block in study.grid:
        assert block.recipe.query_key_scale == base.grid[0].recipe.query_key_scale


@pytest.mark.parametrize("name", ["gpu-english", "held-out-gpu-english"])
def test_the_warm_up_is_a_few_hundred_steps(name):
    for *_, trunk, cell in cells(name):
        steps = trunk.recipe.warmup_tokens / cell.config.batch_tokens
        assert 100 <= steps <= 400 and steps < 0.05 * cell.tokens / cell.config.batch_tokens
