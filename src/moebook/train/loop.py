"""Train one trunk: a stable-rate run off which short decays branch, one for each number of tokens.

A branch is, bit for bit on a CPU, the run that would have been planned for that number of tokens: up to
its decay the schedule does not depend on the end. So a trunk of three budgets costs little more than its
longest run, and every record stands for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from moebook.architecture import ModelConfig
from moebook.errors import InputError
from moebook.files import canonical_json, sha256_hex
from moebook.model import Decoder
from moebook.runs import Record
from moebook.text import Text, train_batch
from moebook.train.checkpoint import Checkpoint, restore_training, training_tensors
from moebook.train.ended import SCORE, Progress, ended_record
from moebook.train.memory import keep_memory_warm
from moebook.train.numerics import NUMERICS
from moebook.train.processes import ALONE, Alone
from moebook.train.recipe import Recipe, learning_rate_at
from moebook.train.run import RunConfig, TextIdentity

DIVERGED_STEPS = 32  # so many in a row no better than a uniform guess
ON_PROGRESS = Callable[[int, int, float], None]  # steps done, steps in all, training loss in nats


class Diverged(Exception):
    """The loss is not finite, or no better than a uniform guess's once the rate has warmed up."""


class Trainer:
    """A model, its step and its place in the text; knows steps, not branches."""

    def __init__(
        self,
        config: RunConfig,
        text: Text,
        device: torch.device,
        compiled: bool = True,
        processes: Alone = ALONE,
    ):
        self.config, self.text, self.device, self.processes = config, text, device, processes
        biased = config.recipe.bias_rate > 0
        model = Decoder(config.model, config.seed, config.recipe.query_key_scale, biased)
        self.model = processes.share(model, device)
        self.update = processes.step(self.model, config.recipe, compiled)
        self.progress = Progress()
        self.check_every = 1 if device.type == "cpu" else 50  # reading a loss stops a GPU's queue
        self._unread: list[torch.Tensor] = []

    def take_step(self, steps: int) -> None:
        """One optimiser step of a run that has `steps` in all."""
        config, recipe, step = self.config, self.config.recipe, self.progress.step
        batch_BN = train_batch(self.text, config.model.context, recipe.batch_sequences, step, config.seed)
        rate = learning_rate_at(recipe, config.model.width, config.model.context, step, steps)
        self._unread.append(self.update(batch_BN, rate))
        self.progress.step += 1

    def read_losses(self) -> float:
        """Fetch the losses of the steps since the last call; raises Diverged, naming the step."""
        progress, uniform = self.progress, math.log(self.config.model.vocab)
        losses = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        for loss in losses:
            if not loss < 3 * uniform:  # NaN too
                step = len(progress.losses_nats) + 1
                raise Diverged(f"the training loss is {loss:.4g} nats at step {step}")
            progress.losses_nats.append(loss)
        # Overflowing norms give logits of zero: a finite loss, and nothing learnt ever after.
        warm = math.ceil(self.config.recipe.warmup_tokens / self.config.batch_tokens)
        latest = progress.losses_nats[warm:][-DIVERGED_STEPS:]
        if len(latest) == DIVERGED_STEPS and min(latest) > 0.999 * uniform:
            raise Diverged(
                f"the training loss stays at a uniform guess's {uniform:.4g} nats up to step {progress.step}"
            )
        return progress.losses_nats[-1] if progress.losses_nats else math.nan

    def save(self, checkpoint: Checkpoint) -> None:
        """Write everything that the next step depends on, but for configuration and text."""
        progress = self.progress
        tensors = training_tensors(self.model, self.update.optimizer)
        tensors["losses_nats"] = torch.tensor(progress.losses_nats, dtype=torch.float64)
        checkpoint.write(tensors, {
            "step": progress.step, "wall_seconds": progress.wall_seconds, "cpu_seconds": progress.cpu_seconds,
        })

    def load(self, checkpoint: Checkpoint) -> bool:
        """Go back to a checkpoint; False where there is none."""
        found = checkpoint.read()
        if found is None:
            return False
        tensors, state = found
        restore_training(self.model, self.update.optimizer, tensors, state["step"], self.processes.put)
        self.progress = Progress(losses_nats=tensors["losses_nats"].tolist(), **state)
        self._unread.clear()
        return True


def run_configs(
    model: ModelConfig, recipe: Recipe, text: Text, seed: int, tokens: Sequence[int]
) -> list[RunConfig]:
    """The runs of one trunk, shortest first. Raises InputError where there is none, or one cannot be."""
    if not tokens:
        raise InputError("run: tokens: []: no run asked for")
    identity = TextIdentity(text.name, text.sha256)
    configs = [RunConfig(model, recipe, identity, d, seed) for d in sorted(set(tokens))]
    for config in configs:
        _check(config, text)
    return configs


def _check(config: RunConfig, text: Text) -> None:
    if not 0 <= config.seed < 2**63:
        raise InputError(f"run: seed: {config.seed}: must be at least 0 and below 2^63")
    if config.tokens <= 0 or config.tokens % config.batch_tokens:
        raise InputError(
            f"run: tokens: {config.tokens}: must be a positive multiple of a batch, {config.batch_tokens}"
        )
    if len(text.train_T) < config.batch_tokens + 1:
        raise InputError(
            f"{text.name}: train: {len(text.train_T)} tokens: shorter than one batch of {config.batch_tokens}"
        )


def train_trunk(
    model: ModelConfig,
    recipe: Recipe,
    text: Text,
    seed: int,
    tokens: Sequence[int],
    workdir: Path,
    study: str = "",
    on_record: Callable[[Record], None] | None = None,
    on_progress: ON_PROGRESS | None = None,
    device: str | None = None,
    checkpoint_seconds: float = 60.0,
    keep_model: Callable[[Decoder], None] | None = None,
    compiled: bool = True,
    score: SCORE | None = None,
    processes: Alone = ALONE,
) -> list[Record]:
    """Train one model for several numbers of tokens; a record for each, in order.

    Killed at any moment and called again with the same arguments, it goes on from its checkpoint and
    ends, on a CPU, with the same bits as if it had never been killed.

    Args:
        tokens: D of each run, multiples of `recipe.batch_sequences * model.context`.
        workdir: folder of the checkpoint, for this trunk alone; emptied of it at the end.
        on_record: called with each record as soon as it is there.
        on_progress: called with (steps done, steps in all, training loss), before a checkpoint is written; to
            raise an exception in it stops the training as it is.
        device: "cpu" or "cuda"; the GPU where there is one, if not said.
        keep_model: called with the model of the longest run, trained.
        compiled: on a CUDA GPU, compile the blocks and run each step as one CUDA graph. That takes a while
            at the start of a trunk, and changes how a step rounds, not what it computes.
        score: called with the model and configuration of each run that ends well; gives its record's
            `scores` (see `moebook.scores`), and must leave the model as it is.
        processes: those that share the model, where it is more than this one; each of them calls this with
            the same arguments, and each calls back.

    Raises InputError for tokens that are no whole batches, a text shorter than one, a checkpoint of
    another configuration, or a disk that will not take the checkpoint.
    """
    where = processes.device or torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if where.type == "cpu":
        torch.set_num_threads(1)  # the same bits whatever the machine's cores
        torch.set_flush_denormal(True)  # idle experts' moments fade into denormals, which are slow
        keep_memory_warm()
    configs = run_configs(model, recipe, text, seed, tokens)
    forks = [recipe.decay_start(c.steps) for c in configs]
    shared = configs[0].to_dict() | {"tokens": None, "numerics": NUMERICS, "device": where.type}
    trunk = processes.checkpoint(Path(workdir), "trunk", sha256_hex(canonical_json(shared))[:16])
    trainer = Trainer(configs[-1], text, where, compiled, processes)
    if trainer.load(trunk) and trainer.progress.step > forks[0]:  # beyond the first branch asked for: anew
        trainer = Trainer(configs[-1], text, where, compiled, processes)
    total = sum(c.steps - fork for c, fork in zip(configs, forks, strict=True)) + forks[-1]
    decays_done = 0
    records: list[Record] = []

    def advance(until: int, steps: int, checkpoint: Checkpoint) -> None:
        """Take steps up to `until` of a run of `steps`; checkpoint now and then, and at the end."""
        clock, processor = time.perf_counter(), time.process_time()
        while trainer.progress.step < until:
            trainer.take_step(steps)
            progress = trainer.progress
            last = progress.step == until
            if not last and progress.step % trainer.check_every:
                continue
            loss = trainer.read_losses()
            if on_progress:
                on_progress(decays_done + progress.step, total, loss)
            now = time.perf_counter()
            if processes.agree(last or now - clock > checkpoint_seconds):
                progress.wall_seconds += now - clock
                progress.cpu_seconds += time.process_time() - processor
                clock, processor = now, time.process_time()
                trainer.save(checkpoint)

    def finish(record: Record) -> None:
        records.append(record)
        if on_record:
            on_record(record)

    for index, (config, fork) in enumerate(zip(configs, forks, strict=True)):
        branch = processes.checkpoint(Path(workdir), f"branch-{config.tokens}", config.key)
        try:
            advance(fork, config.steps, trunk)
        except Diverged as error:  # and with it every longer run
            for longer in configs[index:]:
                finish(ended_record(trainer, longer, study, str(error)))
            break
        if not trunk.exists():
            trainer.save(trunk)
        trainer.load(branch)
        reason = ""
        try:
            advance(config.steps, config.steps, branch)
        except Diverged as error:
            reason = str(error)
        finish(ended_record(trainer, config, study, reason, score))
        if keep_model and index == len(configs) - 1 and records[-1].done:
            keep_model(trainer.model)
        trainer.load(trunk)
        branch.drop()
        decays_done += config.steps - fork
    trunk.drop()
    return records
