"""A small made-up text, the same wherever it is made; as a program, trains on it, to be killed by tests."""

import json
import sys
from pathlib import Path

import numpy as np

from moebook.architecture import Family
from moebook.text import TextSpec, load_text
from moebook.train import Recipe, train_trunk

MODEL = Family(context=32).config(16, 0.75)
RECIPE = Recipe(warmup_tokens=1024)
BATCH = 4 * 32
WORDS = "the a cat dog sat ran on under mat tree and then it was red blue".split()


def made_text(folder: Path):
    """A few hundred documents of sixty words, prepared under `folder`."""
    texts = folder / "texts"
    if not texts.exists():
        texts.mkdir(parents=True)
        rng = np.random.default_rng(0)
        rows = [json.dumps({"text": " ".join(rng.choice(WORDS, 60))}) for _ in range(300)]
        (texts / "made.jsonl").write_text("\n".join(rows))
    return load_text(TextSpec("folder", "made"), folder=texts, cache=folder / "cache")


if __name__ == "__main__":
    folder, *tokens = sys.argv[1:]
    out = Path(folder) / "records"
    out.mkdir(exist_ok=True)
    train_trunk(
        MODEL, RECIPE, made_text(Path(folder)), 0, [int(d) for d in tokens], Path(folder) / "work",
        device="cpu", checkpoint_seconds=0.0, on_progress=lambda done, total, loss: print(done, flush=True),
        on_record=lambda record: (out / f"{record.tokens}.json").write_text(record.to_json()),
    )
