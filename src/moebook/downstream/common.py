"""Scores of many runs on the items that all of them have, so that a larger model answers no other questions.

A wider model is scored on more items (`moebook.scores.sizes`), the smaller set being the first part of the
larger. Items differ in difficulty, and at equal loss a sparse model is narrower than a dense one: scores over
all items would compare other questions. So only the common items count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moebook.errors import InputError
from moebook.runs import Record, Store

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Score:
    """One score of a run.

    Attributes:
        name: its column in the run table.
        title: what it is, in a few words.
        task: whose items it is made of.
        part: (first, step) of the items that count: every one of a task's, or one of its interleaved parts.
        units: what is drawn as one: ("block", n), n items in a row; ("period", n), every n-th item.
        chance: what a model that knows nothing gets.
        up: whether more is better. A share of right choices is, bits a byte are not.
    """

    name: str
    title: str
    task: str
    part: tuple[int, int] = (0, 1)
    units: tuple[str, int] = ("block", 1)
    chance: float = 8.0
    up: bool = False

    def unit_of(self, items: int) -> np.ndarray:
        """Which unit each of so many items belongs to [items]."""
        kind, n = self.units
        at = np.arange(items)
        return at % n if kind == "period" else at // n

    @property
    def unit(self) -> str:
        return "share right" if self.up else "bits a byte"


#: Scores that are looked at beside the loss. Parts of the words stand interleaved. Recall asks each list
#: after four numbers of examples; BLiMP has 67 paradigms, one pair of each in turn. Which document a
#: window is of is not stored, so windows count one by one.
SCORES = (
    Score("wikitext2_bits", "WikiText", "wikitext2"),
    Score("other_bits", "the other corpus", "other"),
    Score("words_seen", "last word, in the passage", "words", (0, 2), chance=1 / 4, up=True),
    Score("words_unseen", "last word, not in it", "words", (1, 2), chance=1 / 4, up=True),
    Score("recall", "key-value recall", "recall", units=("block", 4), chance=1 / 3, up=True),
    Score("blimp", "grammar", "blimp", units=("period", 67), chance=1 / 2, up=True),
)


@dataclass(frozen=True)
class CommonScores:
    """runs: rows of a run table, the columns of SCORES over the common items; items: {score: [runs, items]},
    1 or 0 for right or wrong, or bits a byte, the mean of a row being the run's score; notes: what was read
    from what, and what was left out, in lines for people."""

    runs: pandas.DataFrame
    items: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()

    def units(self, score: str) -> np.ndarray | None:
        """Which unit each item of a score belongs to [items]; None where there are no items."""
        if score not in self.items:
            return None
        return next(s for s in SCORES if s.name == score).unit_of(self.items[score].shape[1])


def common_scores(store: Store, table: pandas.DataFrame) -> CommonScores:
    """The done, scored rows of a run table of one text, their SCORES over the items that all of them have.

    A task counts where every such run has it, with the same pool of items; its columns are empty else. Other
    columns stay as they are. Raises InputError where no run is scored, where two texts are among the rows, or
    where a file of items is missing or not its record's.
    """
    done = table[table["status"] == "done"]
    if len(texts := sorted(set(done["text"]))) > 1:
        raise InputError(f"runs: text: {', '.join(texts)}: losses of two texts do not compare; name one")
    wanted = set(done["key"])
    found = {r.key: r for r in store.load(texts[0] if texts else None) if r.key in wanted and r.scores}
    rows = done[done["key"].isin(found)].reset_index(drop=True)
    if rows.empty:
        raise InputError(f"{store.records}: scores: no run of these is scored; see a study's `scores`")
    records = [found[key] for key in rows["key"]]
    files = [store.items(record) for record in records]
    why_not = {task: _why_not(records, task) for task in dict.fromkeys(score.task for score in SCORES)}
    items = {
        score.name: _common(score, records, [file[score.task] for file in files])
        for score in SCORES
        if not why_not[score.task]
    }
    columns = {s.name: items[s.name].mean(axis=1) if s.name in items else np.nan for s in SCORES}
    unscored = len(done) - len(rows)
    notes = [f"{len(rows)} runs with scores" + (f", {unscored} without left out" if unscored else "")]
    notes += [f"{name}: {found.shape[1]} items that all were asked" for name, found in items.items()]
    notes += [f"{task}: not compared: {why}" for task, why in why_not.items() if why]
    return CommonScores(rows.assign(**columns), items, tuple(notes))


def _why_not(records: list[Record], task: str) -> str:
    """Why a task cannot be compared over these runs, with a run to look at; empty where it can."""
    entries = [record.scores["tasks"].get(task, {}) for record in records]
    lacking = [r.key for r, e in zip(records, entries, strict=True) if e.get("status") != "done"]
    if lacking:
        return f"{len(lacking)} of {len(records)} runs have no result, as {lacking[0]}"
    usual = Counter(entry["pool"] for entry in entries).most_common(1)[0][0]
    if other := [r.key for r, e in zip(records, entries, strict=True) if e["pool"] != usual]:
        return f"{len(other)} of {len(records)} runs were asked other questions, as {other[0]}"
    return ""


def _common(score: Score, records: list[Record], files: list[np.ndarray]) -> np.ndarray:
    """Results [runs, items] of the first items, as many as the run of fewest has."""
    counts = [len(array) for array in files]
    fewest = min(counts)
    first, step = score.part
    common = np.stack([array[:fewest][first::step].astype(float) for array in files])
    if score.up:
        return (common > 0).astype(float)
    # Windows are of nearly one length; the run of fewest says how many bytes they have together.
    least = counts.index(fewest)
    stored = records[least].scores["tasks"][score.task]["score"]
    return common * (stored / common[least].mean())
