"""More than the loss: what a trained model can do, measured in seconds at the end of its run.

Stands on model, text and train (standard errors by documents), below study; training knows nothing of it and
is handed it as a function.

>>> suite = Suite(ScoreSpec(), text, Path("data"))     # once a process
>>> section, items = suite(model)                      # a record's `scores`, and the file of items beside it
"""

from moebook.scores.scored import Part, Scored
from moebook.scores.sizes import items_bytes, multiple, scored_bytes
from moebook.scores.spec import TASKS, ScoreSpec
from moebook.scores.suite import VERSION, Suite

__all__ = [
    "TASKS", "VERSION", "Part", "ScoreSpec", "Scored", "Suite", "items_bytes", "multiple", "scored_bytes",
]  # fmt: skip
