"""Options that are off change nothing that was stored; options that are on belong to the run's whole way."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moebook.architecture import Family
from moebook.errors import InputError
from moebook.model import Decoder
from moebook.runs import Store, run_key
from moebook.train import Recipe, RunConfig, TextIdentity, held_out_loss, train_trunk
from moebook.train.evaluate import load_statistics
from moebook.train.loop import Trainer, run_configs

ROOT = Path(__file__).parents[2]
FAMILY = Family(context=32)
MODEL = FAMILY.config(16, 0.75)
RECIPE = Recipe(warmup_tokens=1024)
BIASED = replace(RECIPE, balance_weight=0.0, bias_rate=1e-2)
BATCH = 4 * 32
ALL_ON = RunConfig(
    Family(context=32, active=1, shared_experts=1).config(16, 0.75),
    replace(BIASED, query_key_scale=0.3), TextIdentity("made", "ab"), BATCH, 0,
)  # fmt: skip


def train(text, folder, tokens, model=MODEL, recipe=RECIPE, **more):
    return train_trunk(model, recipe, text, 0, tokens, folder, device="cpu", **more)


def test_every_stored_run_keeps_its_key_and_its_fields():
    records = Store(ROOT / "runs").load()
    assert len(records) > 100
    for record in records:
        config = RunConfig.from_dict(record.config)
        assert run_key(config.to_dict(), record.numerics) == record.key
        assert config.to_dict() == record.config


@pytest.mark.parametrize("part, field", [
    ("model", "shared_experts"), ("recipe", "bias_rate"), ("recipe", "query_key_scale"),
])  # fmt: skip
def test_an_option_is_stored_where_it_is_set_and_read_either_way(part, field):
    set_ = ALL_ON.to_dict()
    assert field in set_[part] and RunConfig.from_dict(set_) == ALL_ON
    plain = RunConfig(MODEL, RECIPE, TextIdentity("made", "ab"), BATCH, 0)
    stored = plain.to_dict()
    assert field not in stored[part]
    spelled = stored | {part: stored[part] | {field: getattr(getattr(plain, part), field)}}
    assert RunConfig.from_dict(spelled) == plain and RunConfig.from_dict(spelled).key == plain.key
    assert replace(plain, **{part: getattr(ALL_ON, part)}).key != plain.key


@pytest.mark.parametrize("field, value", [("bias_rate", -1e-3), ("query_key_scale", 0.0)])
def test_an_impossible_option_is_refused_by_field(field, value):
    with pytest.raises(InputError, match=f"recipe: {field}: "):
        Recipe(**{field: value})


def test_a_run_with_every_option_learns_repeats_and_branches_to_the_bit(text, tmp_path):
    def run(name, tokens):
        return train(text, tmp_path / name, tokens, ALL_ON.model, ALL_ON.recipe)

    short, long = run("trunk", [20 * BATCH, 60 * BATCH])
    (alone,) = run("alone", [60 * BATCH])
    assert (long.key, long.measures, long.curve) == (alone.key, alone.measures, alone.curve)
    assert long.measures["loss_nats"] < short.measures["loss_nats"] < math.log(256)
    assert long.recipe["bias_rate"] == 1e-2 and long.model["shared_experts"] == 1


def test_biases_survive_a_stop_to_the_bit(text, tmp_path):
    """Stopped in the trunk and in the decay; the checkpoint alone carries the biases on."""

    class Stop(Exception):
        pass

    (straight,) = train(text, tmp_path / "a", [60 * BATCH], recipe=BIASED)
    for at in (17, 52, 55):
        def stop(done, total, loss, at=at):
            if done >= at:
                raise Stop

        with pytest.raises(Stop):
            train(
                text, tmp_path / "b", [60 * BATCH], recipe=BIASED, on_progress=stop, checkpoint_seconds=0.0
            )
    (resumed,) = train(text, tmp_path / "b", [60 * BATCH], recipe=BIASED)
    assert (resumed.measures, resumed.curve) == (straight.measures, straight.curve)


def test_biases_are_kept_with_the_model_and_used_where_it_is_evaluated(text, tmp_path):
    state = {}

    def keep(model):
        state.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    (record,) = train(text, tmp_path, [60 * BATCH], recipe=BIASED, keep_model=keep)
    biases = [name for name in state if name.endswith("bias_E")]
    assert len(biases) == 2 and all(state[name].abs().max() > 0 for name in biases)
    with pytest.raises(RuntimeError, match="bias_E"):
        Decoder(MODEL).load_state_dict(state)
    again = Decoder(MODEL, biased=True)
    again.load_state_dict(state)
    assert held_out_loss(again, text).loss_nats == record.measures["loss_nats"]
    for name in biases:
        state[name].zero_()
    again.load_state_dict(state)
    assert held_out_loss(again, text).loss_nats != record.measures["loss_nats"]


def test_without_biases_the_saved_state_has_parameters_only(text):
    trainer = Trainer(run_configs(MODEL, RECIPE, text, 0, [BATCH])[0], text, torch.device("cpu"))
    assert set(trainer.model.state_dict()) == {name for name, _ in trainer.model.named_parameters()}
    assert "bias_E" not in str(sorted(Decoder(FAMILY.config(16, 0), biased=True).state_dict()))


def test_biases_follow_the_load_of_the_training_batch_and_get_no_gradient(text):
    config = run_configs(MODEL, BIASED, text, 0, [BATCH])[0]
    trainer, rate = Trainer(config, text, torch.device("cpu")), BIASED.bias_rate
    loads = []
    trainer.model.register_forward_hook(lambda model, args, out: loads.append(out.load_LE))
    trainer.take_step(2)
    for block, load_E in zip(trainer.model.blocks, loads[0], strict=True):
        assert not block.bias_E.requires_grad
        expected = [rate if x < 1 / 8 else -rate if x > 1 / 8 else 0.0 for x in load_E.tolist()]
        assert block.bias_E.tolist() == pytest.approx(expected, abs=1e-9)


def test_a_smaller_query_key_scale_shrinks_those_projections_alone():
    plain, scaled = (Decoder(MODEL, 3, scale).state_dict() for scale in (1.0, 0.25))
    for name in plain:
        if name.endswith("qkv.weight"):
            assert torch.equal(scaled[name][:32], plain[name][:32] / 4)
            assert torch.equal(scaled[name][32:], plain[name][32:])
        else:
            assert torch.equal(scaled[name], plain[name])


def test_load_statistics_by_hand():
    loads = np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [1, 0, 0, 0], [0.5, 0.25, 0.125, 0.125]])
    largest, smallest, effective = load_statistics(loads)
    assert largest == (1, 2, 4, 2) and smallest == (1, 0, 0, 0.5)
    assert effective == pytest.approx((1, 0.5, 0.25, 2**1.75 / 4))


@pytest.mark.parametrize("sparsity", [0, 0.75])
def test_a_record_has_the_load_of_every_layer(text, tmp_path, sparsity):
    (record,) = train(text, tmp_path, [20 * BATCH], FAMILY.config(16, sparsity))
    measures = record.measures
    largest, smallest, effective = (
        measures[f"load_{name}_by_layer"] for name in ("largest", "smallest", "effective")
    )
    assert len(largest) == len(smallest) == len(effective) == 2
    assert max(largest) == measures["load_largest"] and min(smallest) == measures["load_smallest"]
    for most, least, share in zip(largest, smallest, effective, strict=True):
        assert (most, least, share) == (1, 1, 1) if sparsity == 0 else least < 1 < most and 0 < share < 1


def test_in_training_biases_keep_experts_in_use_that_die_without(text, tmp_path):
    """No auxiliary loss in either run."""
    effective = {}
    for rate in (0.0, 3e-3):
        recipe = Recipe(learning_rate=8e-3, warmup_tokens=1024, balance_weight=0.0, bias_rate=rate)
        (record,) = train(text, tmp_path / str(rate), [200 * BATCH], recipe=recipe)
        effective[rate] = record.measures["load_effective_by_layer"]
    assert max(effective[0.0]) < 0.8 and min(effective[3e-3]) > 0.9
