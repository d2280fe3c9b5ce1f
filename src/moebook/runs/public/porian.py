"""Runs of Porian et al. 2024, "Resolving Discrepancies in Compute-Optimal Scaling" (arXiv 2406.19146).

A loss for each size at each budget, in fifteen variants of data, recipe and counting. Sizes are counted as
the variant says (`param_count`): `standard` with the output projection, `kaplan` without, `attention` as the
FLOPs per token over 6 with attention's; tokens are budget / (6 params) in all of them. The loss is on
held-out text or a smoothed training loss (`loss_on`). Losses at several budgets can come off one run.

The repository keeps them in pickled frames. A pickle is a program, so that only bytes with the pinned
checksum are opened; a folder may hold the same rows as one CSV instead.
"""

from __future__ import annotations

import io
import lzma
import pickle
from typing import TYPE_CHECKING, Any

from moebook.runs.public.files import PinnedFile

if TYPE_CHECKING:
    import pandas

FILE = PinnedFile(
    local="porian2024/runs.csv",
    remote="",
    sha256="9444228ec0562c45f37fd82e75941f6f7e70835634e2554c11956aa741855d84",
    bytes=0,
)
PICKLES = tuple(
    PinnedFile(FILE.local, f"data/{name}.pickle.xz", sha256, size)
    for name, sha256, size in (
        ("summary_df", "afbf07ec92d23182f56a44dd43599f2a7e9716fd70492fbc0a35f6093272b74f", 1287320),
        ("summary_df_att", "40218b8320817bf3c34f82c57aaa28c53ccb5feb9bb3928ee6fc70868ac22af7", 1027008),
        (
            "summary_df_kaplan_tuned_hparams",
            "09b6b91c9c6fa0e4c2684dcbed82475ee62d6c4fc60db5ca2ce5653b08f0ae55",
            259880,
        ),
        ("summary_df_owt2", "7aed67d1ad9bc1d7b0518e3814cee1129216b423b4538d4b724873dd670cff30", 1342912),
    )
)
VARIANT = ("dataset", "hparams", "warmup", "decay", "param_count", "val")
TEXTS = {"rw": "refinedweb", "owt2": "openwebtext2"}
EXTRAS = {
    "variant": "the six settings below in one string",
    "hparams": "base or tuned (batch, learning rate and beta2 by size)",
    "warmup": "long or short",
    "decay": "kaplan (one long cosine), chinchilla (a cosine a budget) or const",
    "param_count": "standard, kaplan or attention",
    "loss_on": "val or train",
}


def columns_of(content: bytes) -> pandas.DataFrame:
    """Every loss of the CSV, in the columns of the run table."""
    import pandas

    return _columns(pandas.read_csv(io.BytesIO(content)))


def columns_of_pickles(contents: list[bytes]) -> pandas.DataFrame:
    """The same from the frames of the repository, one a variant and budget, each with its series of runs."""
    import pandas

    rows = []
    for content in contents:
        for _, variant in pickle.loads(lzma.decompress(content)).iterrows():
            settings = {name: variant[name] for name in VARIANT}
            for _, budget in variant["data"].iterrows():
                rows += _of_budget(settings, budget)
    return _columns(pandas.DataFrame(rows))


def _of_budget(settings: dict[str, Any], budget: pandas.Series) -> list[dict[str, Any]]:
    if not hasattr(budget["orig_n"], "__len__"):
        return []  # a budget that no run reached
    pairs = zip(budget["orig_n"], budget["orig_loss"], strict=True)
    return [{**settings, "flops": budget["flops"], "params": n, "loss": loss} for n, loss in pairs]


def _columns(read: pandas.DataFrame) -> pandas.DataFrame:
    import pandas

    read = read.dropna(subset=["params", "loss"])  # budgets that no run reached
    read = read.sort_values([*VARIANT, "flops", "params", "loss"]).reset_index(drop=True)
    return pandas.DataFrame(
        {
            "key": "porian2024-" + read.index.astype(str),
            "text": read["dataset"].map(TEXTS),
            "params": read["params"],
            "params_active": read["params"],
            "tokens": read["flops"] / (6 * read["params"]),
            "compute_flops": read["flops"],
            "flops_per_token": 6 * read["params"],
            "sparsity": 0.0,
            "experts": 1,
            "active": 1,
            "shared_experts": 0,
            "granularity": 1,
            "loss_nats": read["loss"],
            "variant": read[list(VARIANT)].agg(" ".join, axis=1),
            **{name: read[name] for name in ("hparams", "warmup", "decay", "param_count")},
            "loss_on": read["val"],
        }
    )
