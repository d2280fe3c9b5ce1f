"""The golden losses: the first steps of a few tiny runs, stored for each platform they were made on.

`python tests/train/golden.py` compares; `--write` stores this platform's losses. Losses that changed on a
stored platform are only written over after NUMERICS went up, and NUMERICS may only go up when they changed.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path

import torch

from moebook.architecture import Family
from moebook.text import TextSpec, load_text
from moebook.train import NUMERICS, Recipe
from moebook.train.environment import environment
from moebook.train.loop import Trainer, run_configs

PATH = Path(__file__).with_suffix(".json")
STEPS = 12
FAMILY = Family(context=32)
RUNS = {
    "dense": (FAMILY.config(16, 0), Recipe(warmup_tokens=1024)),
    "K2 E8": (FAMILY.config(16, 0.75), Recipe(warmup_tokens=1024)),
    "K1 E4": (Family(context=32, granularity=1, active=1).config(24, 0.75), Recipe(z_weight=1e-3)),
}


def platform_name() -> str:
    """What decides the bits of a CPU run: processor, vector instructions, torch, the kernels' compiler."""
    found = environment(torch.device("cpu"))
    words = found["hardware"], platform.machine(), found["simd"], "torch", found["torch"], found["kernels"]
    return " ".join(words)


def losses(folder: Path) -> dict[str, list[float]]:
    """Training losses (nats) of the first steps of each run, on bytes that count up."""
    (folder / "texts").mkdir()
    rows = (" ".join(str(n * n) for n in range(i, i + 40)) for i in range(400))
    (folder / "texts" / "squares.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in rows))
    text = load_text(TextSpec("folder", "squares"), folder=folder / "texts", cache=folder / "cache")
    torch.set_num_threads(1)
    found = {}
    for name, (model, recipe) in RUNS.items():
        config = run_configs(model, recipe, text, 0, [STEPS * 4 * 32])[0]
        trainer = Trainer(config, text, torch.device("cpu"))
        for _ in range(STEPS):
            trainer.take_step(STEPS)
            trainer.read_losses()
        found[name] = trainer.progress.losses_nats
    return found


def verdict(stored: dict, name: str, found: dict, numerics: int) -> str:
    """What is wrong between stored and found losses; "" where nothing is."""
    if stored["numerics"] != numerics and stored["platforms"].get(name) == found:
        return f"NUMERICS went from {stored['numerics']} to {numerics}, but no loss changed"
    if stored["numerics"] != numerics:
        return f"NUMERICS is {numerics}: store its golden losses with --write"
    known = stored["platforms"].get(name)
    if known is not None and known != found:
        return "the golden losses changed: the computation is another one, so NUMERICS must go up"
    return ""


def main() -> None:
    stored = json.loads(PATH.read_text()) if PATH.exists() else {"numerics": NUMERICS, "platforms": {}}
    with tempfile.TemporaryDirectory() as folder:
        found = losses(Path(folder))
    name = platform_name()
    wrong = verdict(stored, name, found, NUMERICS)
    if wrong and "--write" not in wrong:
        sys.exit(wrong)
    if "--write" in sys.argv:
        platforms = {name: found} if wrong else stored["platforms"] | {name: found}
        PATH.write_text(json.dumps({"numerics": NUMERICS, "platforms": platforms}, indent=1) + "\n")


if __name__ == "__main__":
    main()
