"""The learning rate's rule in sparsity, and the studies that use it."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from moebook.architecture import counts
from moebook.errors import InputError
from moebook.study import plan, read_study
from moebook.study.tuning import anchors_of_study, fit_rate, main_recipe
from moebook.train import TextIdentity

ROOT = Path(__file__).resolve().parents[2]
TEXT = TextIdentity("t", "0" * 64)


def study_named(name):
    return read_study(ROOT / "studies" / f"{name}.yml")


@pytest.mark.parametrize("name", ["quick", "cpu-packages"])
def test_the_first_studies_train_at_the_stated_rate(name):
    for trunk in plan(study_named(name), TEXT):
        expected = 8e-3 * (1 - trunk.model.sparsity) ** 0.25
        assert trunk.recipe.learning_rate == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["cpu-english", "granularity-english", "held-out-english"])
def test_the_english_studies_train_near_the_rate_that_tuning_found(name):
    """Rounded, and one for all budgets of a trunk: it may cost no more than a few thousandths of a nat."""
    found = anchors_of_study("tune-english", ROOT / "runs")
    kept = main_recipe(found)
    assert all('"query_key_scale": 0.3' in anchor.recipe for anchor in kept)
    rule = fit_rate(kept)
    assert rule.runs >= 95 and rule.anchors >= 22
    for trunk in plan(study_named(name), TEXT):
        for cell in trunk.cells:
            like = {
                "unsparsity": 1 - trunk.model.sparsity, "params": counts(trunk.model).params,
                "tokens": cell.tokens, "batch_tokens": cell.config.batch_tokens,
            }  # fmt: skip
            best = rule.rate * np.prod([(like[n] / rule.at[n]) ** p for n, p in rule.powers.items()])
            curvature = rule.curvature_nats - rule.curvature_growth_nats * np.log2(like["unsparsity"])
            cost = curvature * np.log2(trunk.recipe.learning_rate / best) ** 2
            assert cost < 0.006, (trunk.model.width, trunk.model.sparsity, cell.budget_flops, best)


def test_the_english_study_repeats_what_its_comment_says():
    """The comment names the largest sparsity with several seeds; those below have them at every budget."""
    source = (ROOT / "studies" / "cpu-english.yml").read_text()
    [said] = re.findall(r"# noise between seeds at every budget, and every sparsity up to (\S+)", source)
    seeds: dict[tuple[float, float, int], set[int]] = {}
    for trunk in plan(study_named("cpu-english"), TEXT):
        for cell in trunk.cells:
            model = cell.budget_flops, trunk.model.sparsity, trunk.model.width
            seeds.setdefault(model, set()).add(trunk.seed)
    repeated = {(budget, s) for (budget, s, _), each in seeds.items() if len(each) >= 3}
    assert repeated == {(budget, s) for budget, s, _ in seeds if s <= float(Fraction(said))}


def test_a_rule_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "bad.yml"
    text = (ROOT / "studies" / "quick.yml").read_text()
    path.write_text(text.replace("rate_sparsity_power: 0.25", "rate_sparsity_power: often"))
    with pytest.raises(InputError, match="bad.yml: rate_sparsity_power: 'often'"):
        read_study(path)
