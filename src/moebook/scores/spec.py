"""What to score, as a study file states it. No part of a run's identity: it does not change the training."""

from __future__ import annotations

from dataclasses import dataclass

from moebook.errors import InputError
from moebook.text import TextSpec

TASKS = ("blimp", "wikitext2", "other", "words", "recall")
PACKAGES = TextSpec("packages", "packages")
ENGLISH = TextSpec(
    "folder", "english", files=("books", "wiki", "techdocs", "civic"),
    sha256="9e7e2fd8d4047bc4c6f9079e60585b3e6e8a47e0b9839cacfcd2b07d2a7c394a",
)  # fmt: skip


@dataclass(frozen=True)
class ScoreSpec:
    """Which tasks, and which text is the other corpus.

    other: None is the package sources, or the English text for a model of the package sources.

    Raises InputError naming the field.
    """

    tasks: tuple[str, ...] = TASKS
    other: TextSpec | None = None

    def __post_init__(self) -> None:
        for name in self.tasks:
            if name not in TASKS:
                raise InputError(f"scores: tasks: {name!r}: must be one of {', '.join(TASKS)}")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise InputError(f"scores: tasks: {list(self.tasks)!r}: must be a list without repeats")

    def other_than(self, text_name: str) -> TextSpec:
        """The other corpus of a model that was trained on the text of this name."""
        return self.other or (ENGLISH if text_name == PACKAGES.name else PACKAGES)
