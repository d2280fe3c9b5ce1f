"""One run: its recipe, its loop, its checkpoint, its validation loss."""

from moebook.train.evaluate import HeldOut, held_out_loss
from moebook.train.loop import run_configs, train_trunk
from moebook.train.numerics import NUMERICS
from moebook.train.processes import ALONE, start_processes
from moebook.train.recipe import Recipe, learning_rate_at
from moebook.train.run import RunConfig, TextIdentity, run_measures

__all__ = [
    "ALONE", "NUMERICS", "HeldOut", "Recipe", "RunConfig", "TextIdentity", "held_out_loss",
    "learning_rate_at", "run_configs", "run_measures", "start_processes", "train_trunk",
]  # fmt: skip
