"""A small store of made-up runs with a known law, for the chapters and the figures to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from moebook import laws
from moebook.architecture import Family, counts
from moebook.runs.record import Record
from moebook.runs.store import Store

#: A law whose best sparsity lies inside the range of the runs, and falls as compute grows.
TRUTH = {
    "a": 0.25 * 5e4**0.4, "alpha": 0.4, "b": 0.5 * 1e6**0.35, "beta": 0.35, "c": 0.08, "lambda": 0.4,
    "d": 0.45 * 5e4**0.16, "delta": 0.05, "gamma": 0.16, "e": 0.7,
}  # fmt: skip
WIDTHS = {3e10: (12, 16, 24), 1e11: (16, 24, 32), 3e11: (16, 24, 32, 48)}


def write_records(
    root: Path, text: str = "packages", sparsities: Sequence[float] = (0, 3 / 4, 15 / 16), seeds: int = 2
) -> list[Record]:
    """Records whose losses follow the law TRUTH with 0.5 % noise; one more that diverged."""
    law, generator, store, made = laws.get("abnar"), np.random.default_rng(7), Store(root), []
    for budget, widths in WIDTHS.items():
        for width in widths:
            for sparsity in sparsities:
                for seed in range(seeds):
                    config = Family().config(width, sparsity)
                    paper = counts(config)
                    tokens = max(1, round(budget / paper.flops_per_token / 512)) * 512
                    loss = float(
                        law(TRUTH, paper.params, tokens, sparsity) * np.exp(generator.normal(0, 0.005))
                    )
                    made.append(store.add(_record(text, config, paper, tokens, seed, loss)))
    config = Family().config(48, 3 / 4)
    made.append(store.add(_record(text, config, counts(config), 5120, 9, None)))
    return made


def _record(text, config, paper, tokens, seed, loss) -> Record:
    from dataclasses import asdict

    measures = {
        "params": paper.params, "params_active": paper.params_active,
        "params_nonembedding": paper.params_nonembedding,
        "params_active_nonembedding": paper.params_active_nonembedding,
        "sparsity": config.sparsity, "tokens": tokens, "flops_per_token": paper.flops_per_token,
        "compute_flops": paper.flops_per_token * tokens,
    }  # fmt: skip
    if loss is not None:
        measures |= {"loss_nats": loss, "loss_stderr_nats": 0.004, "bits_per_byte": loss / np.log(2)}
    return Record(
        config={
            "model": asdict(config), "recipe": {"learning_rate": 4e-3, "batch_sequences": 4},
            "text": {"name": text, "sha256": "0" * 64}, "tokens": tokens, "seed": seed,
        },
        numerics=1, study="made-up", status="done" if loss is not None else "diverged",
        reason="" if loss is not None else "the training loss is nan nats at step 7", measures=measures,
        cost={"wall_seconds": 10.0, "cpu_seconds": 10.0, "tokens_per_second": tokens / 10},
        environment={"device": "cpu"}, finished="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_records() -> Callable[..., list[Record]]:
    return write_records


@pytest.fixture(scope="session")
def record_store(tmp_path_factory) -> Path:
    """A folder `runs` with records of one text, no posterior."""
    root = tmp_path_factory.mktemp("store") / "runs"
    write_records(root)
    return root
