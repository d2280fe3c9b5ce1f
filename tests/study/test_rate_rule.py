"""The learning rate's rule in sparsity, and the studies that use it."""

from pathlib import Path

import pytest

from moebook.errors import InputError
from moebook.study import plan, read_study
from moebook.train import TextIdentity

STUDIES = sorted((Path(__file__).resolve().parents[2] / "studies").glob("*.yml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_projects_studies_train_at_the_stated_rate(path):
    study = read_study(path)
    for trunk in plan(study, TextIdentity("t", "0" * 64)):
        expected = 8e-3 * (1 - trunk.model.sparsity) ** 0.25
        assert trunk.recipe.learning_rate == pytest.approx(expected, rel=1e-5)


def test_a_rule_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text(STUDIES[0].read_text().replace("rate_sparsity_power: 0.25", "rate_sparsity_power: often"))
    with pytest.raises(InputError, match="bad.yml: rate_sparsity_power: 'often'"):
        read_study(path)
