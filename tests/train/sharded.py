"""Trains a tiny model, alone or (under torchrun) shared out; the first process writes losses and weights."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from moebook.architecture import Family
from moebook.text import TextSpec, load_text
from moebook.train import ALONE, Recipe, start_processes
from moebook.train.loop import Trainer, run_configs

MODELS = {
    "dense": (Family(context=32).config(16, 0), Recipe(warmup_tokens=1024)),
    "sparse": (Family(context=32).config(16, 0.75), Recipe(warmup_tokens=1024, z_weight=1e-3)),
    "biased": (
        Family(context=32, shared_experts=1, active=1).config(16, 0.75),
        Recipe(warmup_tokens=1024, balance_weight=0.0, bias_rate=1e-3, clip=0.3),
    ),
}


def main(folder: Path, name: str, out: Path, first: int, steps: int) -> None:
    """Take the steps from `first` to `steps`, from the checkpoint in `out` if there is one, and leave one."""
    torch.set_num_threads(1)
    text = load_text(TextSpec("folder", "made"), folder=folder / "texts", cache=folder / "cache")
    model, recipe = MODELS[name]
    processes = start_processes(recipe.batch_sequences) if "--shard" in sys.argv else ALONE
    (config,) = run_configs(model, recipe, text, 0, [1000 * 4 * 32])
    trainer = Trainer(config, text, torch.device("cpu"), processes=processes)
    checkpoint = processes.checkpoint(out, "state", "test")
    assert trainer.load(checkpoint) == (first > 0) and trainer.progress.step == first
    while trainer.progress.step < steps:
        trainer.take_step(1000)
        trainer.read_losses()
    trainer.save(checkpoint)
    weights = processes.weights(trainer.model)
    assert bool(weights) == processes.first
    if processes.first:
        save_file(weights, out / "weights.safetensors")
        (out / "losses.json").write_text(json.dumps(trainer.progress.losses_nats))
    processes.part()


if __name__ == "__main__":
    folder, name, out, first, steps, *_ = sys.argv[1:]
    Path(out).mkdir(exist_ok=True)
    main(Path(folder), name, Path(out), int(first), int(steps))
