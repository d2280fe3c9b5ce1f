"""Runs of Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models" (arXiv 2203.15556).

Not given out by the source: read off its figure by others, and cleaned. What its N counts is not stated.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moebook.runs.public.files import PinnedFile

if TYPE_CHECKING:
    import pandas

FILE = PinnedFile(
    local="chinchilla/runs.csv",
    remote="examples/llm/df.csv",
    sha256="2ed2c412c6b408cb26896b92c0721fe9afa6515726b0db78c33db37cbf2816f9",
    bytes=12498,
)
EXTRAS: dict[str, str] = {}


def columns_of(content: bytes) -> pandas.DataFrame:
    """Every point, in the columns of the run table."""
    import pandas

    read = pandas.read_csv(io.BytesIO(content))
    return pandas.DataFrame(
        {
            "key": "chinchilla-" + read.index.astype(str),
            "text": "chinchilla",
            "params": read["N"],
            "params_active": read["N"],
            "tokens": read["D"],
            "compute_flops": read["C"],
            "flops_per_token": read["C"] / read["D"],
            "sparsity": 0.0,
            "experts": 1,
            "active": 1,
            "shared_experts": 0,
            "granularity": 1,
            "loss_nats": read["loss"],
        }
    )
