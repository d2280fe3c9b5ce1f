"""The live lesson of the second chapter: two models of equal active size, trained while the page is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from moebook.architecture import Counts, Family, ModelConfig, counts
from moebook.book.say import seconds
from moebook.figures.style import sparsity_text

if TYPE_CHECKING:
    import pandas

    from moebook.text import Text

HELDOUT_BYTES = 120_000


@dataclass(frozen=True)
class Lesson:
    """One model of the lesson, trained.

    counts: parameters and FLOPs on paper; curve_tokens, curve_loss_nats: the training loss on the way;
    loss_nats, stderr_nats: on held-out text; load_LE: share of the routed tokens by layer and expert
    ([layers, 1] of ones for a dense model); wall_seconds: of training.
    """

    config: ModelConfig
    counts: Counts
    tokens: int
    curve_tokens: list[float]
    curve_loss_nats: list[float]
    loss_nats: float
    stderr_nats: float
    load_LE: np.ndarray
    wall_seconds: float


def first_documents(text: Text, heldout_bytes: int = HELDOUT_BYTES) -> Text:
    """The same text with a short held-out stream: whole documents from its start, about `heldout_bytes`."""
    starts = text.heldout_starts
    count = max(2, int(np.searchsorted(starts, heldout_bytes)))
    end = int(starts[count]) - 1 if count < len(starts) else len(text.heldout_T)
    return replace(text, heldout_T=text.heldout_T[:end], heldout_starts=starts[:count])


def teach(
    text: Text, sparsities: Sequence[float], width: int, compute_flops: float, seed: int = 1
) -> list[Lesson]:
    """Train one model of the default family for each sparsity, all with the same compute.

    compute_flops: for each model; the tokens follow from its own FLOPs per token, in whole batches.
    """
    return [_train(text, Family().config(width, sparsity), compute_flops, seed) for sparsity in sparsities]


def _train(text: Text, config: ModelConfig, compute_flops: float, seed: int) -> Lesson:
    import torch

    from moebook.text import heldout_windows
    from moebook.train import Recipe, train_trunk

    paper, recipe = counts(config), Recipe()
    batch = recipe.batch_sequences * config.context
    tokens = max(1, round(compute_flops / paper.flops_per_token / batch)) * batch
    loads: list[np.ndarray] = []

    def keep(model: torch.nn.Module) -> None:
        windows = heldout_windows(text, config.context).windows_WT[:256, :-1]
        with torch.no_grad():
            loads.append(model(torch.from_numpy(windows.astype(np.int64))).load_LE.numpy())

    with TemporaryDirectory(prefix="moebook-lesson-") as folder:
        [record] = train_trunk(
            config, recipe, text, seed, [tokens], Path(folder), study="lesson", device="cpu", keep_model=keep
        )
    if not record.done:
        raise RuntimeError(
            f"the lesson's model of sparsity {config.sparsity} {record.status}: {record.reason}"
        )
    return Lesson(
        config=config, counts=paper, tokens=tokens,
        curve_tokens=record.curve["tokens"], curve_loss_nats=record.curve["loss_nats"],
        loss_nats=record.measures["loss_nats"], stderr_nats=record.measures["loss_stderr_nats"],
        load_LE=loads[0], wall_seconds=record.cost["wall_seconds"],
    )  # fmt: skip


def size_table(models: Sequence[ModelConfig]) -> pandas.DataFrame:
    """What each model holds and costs: experts, parameters, FLOPs a token, megabytes of weights."""
    import pandas as pd

    papers = [counts(model) for model in models]
    return pd.DataFrame(
        {
            "S": [sparsity_text(model.sparsity) for model in models],
            "E": [model.experts for model in models],
            "K": [model.active for model in models],
            "N": [f"{paper.params:,}" for paper in papers],
            "active": [f"{paper.params_active:,}" for paper in papers],
            "active share": [f"{paper.params_active / paper.params:.0%}" for paper in papers],
            "FLOPs a token": [f"{paper.flops_per_token:,}" for paper in papers],
            "weights": [f"{paper.weight_bytes() / 1e6:.1f} MB" for paper in papers],
        }
    )


def in_words(dense: Lesson, sparse: Lesson) -> dict[str, str]:
    """What the lesson's prose quotes: both losses, which is lower, how long it took, the router's load."""
    better, worse = sorted((dense, sparse), key=lambda lesson: lesson.loss_nats)
    gap = f"{worse.loss_nats - better.loss_nats:.3f}"
    load = sparse.load_LE * sparse.config.experts
    if gap == "0.000":
        verdict = "At this precision they are equal."
    else:
        trained = ""
        if better.tokens != worse.tokens:
            fewer = better.tokens < worse.tokens
            trained = f", {'although it was trained on fewer' if fewer else 'trained on more'} bytes"
        verdict = f"The {'sparse' if better is sparse else 'dense'} one is better by {gap}{trained}."
    return {
        "lesson_seconds": seconds(dense.wall_seconds + sparse.wall_seconds),
        "lesson_dense": f"{dense.loss_nats:.3f}",
        "lesson_sparse": f"{sparse.loss_nats:.3f}",
        "lesson_verdict": verdict,
        "lesson_busiest": f"{load.max():.2f} times",
        "lesson_idlest": f"{load.min():.2f} times",
    }
