"""Runs of Clark et al. 2022, "Unified Scaling Laws for Routed Language Models" (arXiv 2202.01169).

The source counts parameters without embeddings: a dense block of width d has 13 d^2 + 4 d where heads span d.
Its `dense_parameter_count` is of the model with one expert of plain width: what a token uses where k = 1.
For k > 1 the further experts are added here, and a dense model with a wider feed-forward uses all it has.
Its `flops_per_step` is a forward pass over 256 sequences of 2048 tokens; forward and backward are taken as
three of it. All runs saw about 130e9 tokens.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moebook.errors import InputError
from moebook.runs.public.files import PinnedFile

if TYPE_CHECKING:
    import pandas

FILE = PinnedFile(
    local="clark2022/curves.csv.gz",
    remote="data/curves.csv.gz",
    sha256="c03e7531add85e594f368d33bac4a0220280be858a7ed12d147cf73af6a3819f",
    bytes=336608,
)
TOKENS_PER_STEP = 256 * 2048
ROUTERS = ("S-Base", "RL-R", "Hash")
OTHER_LOSSES = ("c4", "curation_corpus", "lambada", "pile", "wikitext103")
EXTRAS = {
    "router": "Dense, S-Base, RL-R or Hash",
    "routing_frequency": "share of blocks that are routed",
    "flop_increase": "factor on the width of a dense model's feed-forward",
    "step": "optimiser steps at the last evaluation",
    **{f"loss_{name}_nats": f"nats a token on {name}" for name in OTHER_LOSSES},
}


def columns_of(content: bytes) -> pandas.DataFrame:
    """The last evaluation of every run, in the columns of the run table."""
    import pandas

    curves = pandas.read_csv(io.BytesIO(content), compression="gzip")
    last = curves.loc[curves.groupby("hyper_id")["step"].idxmax()]
    total, one, experts = last["total_parameter_count"], last["dense_parameter_count"], last["num_experts"]
    routed = experts > 1
    used = last["k"].where(routed, 1)
    active = (one + (used - 1) * (total - one) / (experts - 1)).where(routed, total)
    tokens = last["step"] * TOKENS_PER_STEP
    flops_per_token = 3 * last["flops_per_step"] / TOKENS_PER_STEP
    return pandas.DataFrame(
        {
            "key": "clark2022-" + last["hyper_id"].astype(str),
            "text": "clark2022",
            "seed": last["seed"],
            "params": total,
            "params_active": active,
            "params_nonembedding": total,
            "params_active_nonembedding": active,
            "tokens": tokens,
            "compute_flops": flops_per_token * tokens,
            "flops_per_token": flops_per_token,
            "sparsity": 1 - used / experts,
            "experts": experts,
            "active": used,
            "shared_experts": 0,
            "granularity": 1,
            "width": last["d_model"],
            "layers": last["num_blocks"],
            "loss_nats": last["loss_validation"],
            "batch_tokens": TOKENS_PER_STEP,
            "router": last["router_type"],
            **{name: last[name] for name in ("routing_frequency", "flop_increase", "step")},
            **{f"loss_{name}_nats": last[f"loss_{name}"] for name in OTHER_LOSSES},
        }
    )


def law_rows(table: pandas.DataFrame, router: str) -> pandas.DataFrame:
    """The runs behind the published law of one router, with the dense runs that all three share.

    Every other block routed, one expert a token, seed 42. (The 130M dense model has other seeds only; runs
    at other routing frequencies differ by an unlabelled factor.)
    """
    if router not in ROUTERS:
        raise InputError(f"clark2022: router: {router}: there are {', '.join(ROUTERS)}")
    chosen = (
        table["router"].isin([router, "Dense"])
        & (table["routing_frequency"] == 0.5)
        & (table["flop_increase"] == 1)
        & (table["active"] == 1)
        & (table["seed"] == 42)
    )
    return table[chosen].reset_index(drop=True)
