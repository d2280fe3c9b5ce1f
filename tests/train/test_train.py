import itertools
import math
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from moebook.architecture import Family
from moebook.errors import InputError
from moebook.runs import Record
from moebook.text import heldout_windows
from moebook.train import Recipe, RunConfig, held_out_loss, learning_rate_at, train_trunk
from moebook.train.evaluate import ratio_with_stderr
from moebook.train.loop import Trainer, run_configs

MODEL = Family(context=32).config(16, 0.75)
DENSE = Family(context=32).config(16, 0)
RECIPE = Recipe(warmup_tokens=1024)
BATCH = 4 * 32


def bits(record):
    """What must repeat to the bit: key, measures and curve; not time, machine or date."""
    return record.key, record.measures, record.curve


def train(text, folder, tokens, model=MODEL, recipe=RECIPE, seed=0, **more):
    return train_trunk(model, recipe, text, seed, tokens, folder, device="cpu", **more)


@pytest.mark.parametrize("model", [MODEL, DENSE], ids=["sparse", "dense"])
def test_training_learns_and_repeats_to_the_bit(text, tmp_path, model):
    first, again, other = (
        train(text, tmp_path / str(i), [100 * BATCH], model, seed=seed)[0] for i, seed in enumerate((3, 3, 4))
    )
    assert first.measures["loss_nats"] < 2.5 < math.log(256)
    assert bits(first) == bits(again)
    assert other.measures["loss_nats"] != first.measures["loss_nats"]


def test_a_branch_is_the_run_planned_for_its_length(text, tmp_path):
    branches = train(text, tmp_path / "trunk", [20 * BATCH, 35 * BATCH, 60 * BATCH])
    for record in branches:
        (planned,) = train(text, tmp_path / str(record.tokens), [record.tokens])
        assert bits(record) == bits(planned)
    assert not list((tmp_path / "trunk").iterdir()), "a finished trunk leaves no checkpoint"


def test_killed_at_any_moment_and_started_again_ends_with_the_same_bits(made, tmp_path):
    tokens = [20 * BATCH, 60 * BATCH]
    text = made.made_text(tmp_path)
    never_killed = train(text, tmp_path / "never", tokens)
    command = [sys.executable, made.__file__, str(tmp_path), *map(str, tokens)]
    for lines in (7, 12, 3, 20):  # in the trunk, in the first decay, right after, in the second stretch
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in itertools.islice(process.stdout, lines):
                pass
            process.kill()
            assert process.wait() != 0, "the run ended before it could be killed"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for record in never_killed:
        path = tmp_path / "records" / f"{record.tokens}.json"
        assert bits(Record.from_json(path.read_text())) == bits(record)


def test_a_shorter_run_asked_for_later_is_trained_not_skipped(text, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total, loss):
        if done > 50:
            raise Stop

    with pytest.raises(Stop):
        train(text, tmp_path / "w", [60 * BATCH], on_progress=stop, checkpoint_seconds=0.0)
    records = train(text, tmp_path / "w", [20 * BATCH, 60 * BATCH])
    assert [r.tokens for r in records] == [20 * BATCH, 60 * BATCH]
    assert bits(records[0]) == bits(train(text, tmp_path / "p", [20 * BATCH])[0])


def test_a_checkpoint_of_another_configuration_is_refused(text, tmp_path):
    def stop(done, total, loss):
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(text, tmp_path, [20 * BATCH], on_progress=stop, checkpoint_seconds=0.0)
    with pytest.raises(InputError, match=r"trunk\.json: identity: .*another configuration"):
        train(text, tmp_path, [20 * BATCH], recipe=Recipe(learning_rate=1e-3, warmup_tokens=1024))
    tensors = next(tmp_path.glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="damaged"):
        train(text, tmp_path, [20 * BATCH])


@pytest.mark.parametrize(
    "rate, message", [(1e25, "at step 2"), (3e3, "uniform guess's 5.545 nats up to step 33")]
)
def test_a_run_that_diverges_says_where_and_has_no_loss(text, tmp_path, rate, message):
    wild = Recipe(learning_rate=rate, warmup_tokens=0, clip=1e9, weight_decay=0)
    records = train(text, tmp_path, [60 * BATCH, 80 * BATCH], recipe=wild)
    assert [r.status for r in records] == ["diverged", "diverged"]
    assert message in records[0].reason
    assert "loss_nats" not in records[0].measures and records[0].measures["params"] > 0


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(made, tmp_path):
    made.made_text(tmp_path)
    command = [sys.executable, made.__file__, str(tmp_path), str(20 * BATCH)]

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_files)
    assert run.returncode != 0 and "InputError" in run.stderr and "cannot be written" in run.stderr
    assert not list((tmp_path / "work").glob("*.tmp"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_held_out_loss_is_the_plain_mean_over_every_held_out_byte(text):
    trainer = Trainer(run_configs(MODEL, RECIPE, text, 0, [BATCH])[0], text, torch.device("cpu"))
    found = held_out_loss(trainer.model, text, batch=7)
    windows = heldout_windows(text, 32)
    total, count = 0.0, 0
    with torch.no_grad():
        for window, length in zip(windows.windows_WT, windows.lengths_W, strict=True):
            tokens = torch.from_numpy(window.astype(np.int64))[None]
            logits = trainer.model(tokens[:, :-1]).logits_BNV[0, :length]
            total += functional.cross_entropy(logits, tokens[0, 1 : length + 1], reduction="sum").item()
            count += int(length)
    assert found.tokens == count
    assert found.loss_nats == pytest.approx(total / count, rel=1e-6)
    assert found.bits == pytest.approx(found.loss_nats / math.log(2))


def test_standard_error_of_a_ratio_covers():
    rng = np.random.default_rng(0)
    truth, hits = 2.0, 0
    for _ in range(400):
        counts = rng.integers(50, 500, 40)
        sums = counts * (truth + rng.normal(0, 0.3, 40))
        mean, stderr = ratio_with_stderr(sums, counts)
        hits += abs(mean - truth) < 1.96 * stderr
    assert 0.90 < hits / 400 < 0.98
    assert ratio_with_stderr(np.array([4.0]), np.array([2])) == (2.0, math.inf)


def test_the_schedule_warms_up_stays_and_falls_to_near_zero():
    recipe = Recipe(learning_rate=1.0, batch_sequences=1, warmup_tokens=100, decay_share=0.2)
    rates = [learning_rate_at(recipe, 64, 10, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([(20 - i) / 21 for i in range(20)])
    assert recipe.peak_rate(16) == 2.0


def test_weight_decay_does_not_depend_on_the_rate(text):
    config = run_configs(MODEL, RECIPE, text, 0, [BATCH])[0]
    trainer = Trainer(config, text, torch.device("cpu"))
    for rate in (1e-2, 1e-4):
        trainer.update.set_rate(rate)
        decayed, plain = trainer.update.optimizer.param_groups
        assert decayed["lr"] * decayed["weight_decay"] == pytest.approx(RECIPE.weight_decay)
        assert plain["weight_decay"] == 0
        assert all(p.ndim > 1 for p in decayed["params"]) and all(p.ndim == 1 for p in plain["params"])


def test_a_configuration_survives_its_record(text):
    config = run_configs(MODEL, RECIPE, text, 0, [BATCH])[0]
    assert RunConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="colour"):
        RunConfig.from_dict(config.to_dict() | {"colour": 1})


@pytest.mark.parametrize(
    "tokens, message", [([100], "multiple of a batch"), ([], "no run"), ([-BATCH], "-128")]
)
def test_tokens_that_make_no_run_are_refused(text, tmp_path, tokens, message):
    with pytest.raises(InputError, match=message):
        train(text, tmp_path, tokens)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_torch_cannot_take_is_refused(text, seed):
    with pytest.raises(InputError, match=f"run: seed: {seed}: must be"):
        run_configs(MODEL, RECIPE, text, seed, [BATCH])


def test_a_text_shorter_than_a_batch_is_refused(text, tmp_path):
    with pytest.raises(InputError, match="shorter than one batch"):
        train(text, tmp_path, [32_000 * 32], recipe=Recipe(batch_sequences=32_000))


@pytest.mark.parametrize("field, value", [
    ("learning_rate", 0), ("decay_share", 1.0), ("batch_sequences", 1.5), ("precision", "fp8"),
    ("warmup_tokens", -1), ("clip", math.nan),
])
def test_an_impossible_recipe_is_refused_by_field(field, value):
    with pytest.raises(InputError, match=f"recipe: {field}: "):
        Recipe(**{field: value})


@pytest.mark.parametrize("model", [MODEL, DENSE], ids=["sparse", "dense"])
def test_the_bf16_path_trains_to_about_the_fp32_loss(text, tmp_path, model):
    """The path of a CUDA GPU, here on the CPU; the card itself is not needed for its arithmetic."""
    recipes = [Recipe(warmup_tokens=1024, precision=precision) for precision in ("fp32", "bf16")]
    records = [train(text, tmp_path / r.precision, [100 * BATCH], model, r)[0] for r in recipes]
    fp32, bf16 = (record.measures["loss_nats"] for record in records)
    assert fp32 != bf16 and bf16 == pytest.approx(fp32, abs=0.05)
