"""At the study's own scale: a branch of a longer trunk, the run planned for its length, the record."""

from pathlib import Path

import pytest

from moebook.architecture import ModelConfig
from moebook.runs import Store
from moebook.text import TextSpec, load_text
from moebook.train import Recipe, train_trunk

ROOT = Path(__file__).resolve().parents[2]
SEED_SD_NATS = 0.037  # of the package text, as the runs chapter measures it


@pytest.mark.slow
def test_a_branch_of_a_stored_trunk_is_the_run_planned_for_its_length(tmp_path):
    """1e11 FLOPs at width 16 and S = 3/4: in the table it branches off a trunk that goes on to 3e11 FLOPs."""
    text = load_text(TextSpec("packages", "packages"))
    [record] = [
        each for each in Store(ROOT / "runs").load("packages")
        if each.model["width"] == 16 and each.measures["sparsity"] == 0.75 and each.seed == 0
        and not each.purpose and round(each.measures["compute_flops"], -9) == 1e11
    ]  # fmt: skip
    model, recipe = ModelConfig(**record.model), Recipe(**record.recipe)
    batch = recipe.batch_sequences * model.context
    longer = record.tokens // batch * 5 // 4 * batch

    def losses(name, tokens):
        records = train_trunk(model, recipe, text, 0, tokens, tmp_path / name, device="cpu")
        return [(each.key, each.measures["loss_nats"]) for each in records]

    [planned] = losses("planned", [record.tokens])
    branch, beyond = losses("trunk", [record.tokens, longer])
    assert planned[0] == branch[0] == record.key and planned[1] == branch[1]  # to the bit
    assert beyond[1] < branch[1]
    assert planned[1] == pytest.approx(record.measures["loss_nats"], abs=2 * SEED_SD_NATS)
