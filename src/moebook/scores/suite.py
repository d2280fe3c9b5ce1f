"""All tasks on one model: scores with errors and chance levels, or why there are none; results by item."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from moebook.errors import InputError
from moebook.model import Decoder
from moebook.runs import pack_items
from moebook.scores import blimp, recall, sources, windows, words
from moebook.scores.scored import Scored
from moebook.scores.sizes import WINDOW, multiple
from moebook.scores.sources import NotMeasured
from moebook.scores.spec import ScoreSpec
from moebook.text import Text, load_text

#: Goes up when the same model would get other scores: other items, or another way to judge them.
VERSION = 1
_RULES: dict[str, Callable[[Decoder, Any, int], Scored]] = {
    "blimp": blimp.blimp,
    "wikitext2": windows.bits_a_byte,
    "other": windows.bits_a_byte,
    "words": words.last_words,
    "recall": lambda model, _, multiple: recall.recall(model, multiple),
}
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s:/]+/)+")


class Suite:
    """The tasks for the models of one text; texts and item sets are read once, as they are first needed.

    Args:
        text: what the models are trained on.
        data: a folder with BLiMP, WikiText-2, books and the English corpus, or with some of them, up to two
            levels down (see `moebook.scores.sources`); what is not there is downloaded if it can be.

    Raises InputError where `data` is no folder.
    """

    def __init__(self, spec: ScoreSpec, text: Text, data: Path | None = None):
        if data is not None and not data.is_dir():
            raise InputError(f"{data}: scores: no such folder")
        self.spec, self.text, self.data = spec, text, data
        self._pools: dict[str, Any] = {}
        self._seconds = 0.0

    def __call__(self, model: Decoder) -> tuple[dict[str, Any], bytes]:
        """A record's `scores`, and the file of results by item that belongs to it.

        A task that fails, whatever it raises, is an entry that says so; the others go on.
        """
        entries, items = {}, {}
        self._seconds = 0.0
        for name in self.spec.tasks:
            entries[name], found = self._entry(name, model)
            if found is not None:
                items[name] = found
        section = {
            "version": VERSION, "multiple": multiple(model.config), "tasks": entries,
            "seconds": round(self._seconds, 2),
        }  # fmt: skip
        content, identity = pack_items(items)
        return section | {"items": identity}, content

    def lacking(self) -> dict[str, str]:
        """The tasks that cannot be had here, and why."""
        found = {}
        for name in self.spec.tasks:
            try:
                self._pool(name)
            except NotMeasured as error:
                found[name] = _reason(error)
        return found

    def _entry(self, name: str, model: Decoder) -> tuple[dict[str, Any], np.ndarray | None]:
        try:
            _check(model)
            pool = self._pool(name)
            start = time.perf_counter()
            found = _RULES[name](model, pool, multiple(model.config))
            self._seconds += time.perf_counter() - start
            text = {"text": self.spec.other_than(self.text.name).name} if name == "other" else {}
            return {"status": "done"} | text | found.to_dict(), found.items
        except NotMeasured as error:
            return {"status": "not measured", "reason": _reason(error)}, None
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            return {"status": "failed", "reason": f"{type(error).__name__}: {_reason(error)} ({place})"}, None

    def _pool(self, name: str) -> Any:
        """A task's items; why there are none is kept too, so that no run waits for the network again."""
        if name not in self._pools:
            try:
                self._pools[name] = getattr(self, f"_read_{name}")()
            except NotMeasured as error:
                self._pools[name] = error
        found = self._pools[name]
        if isinstance(found, NotMeasured):
            raise NotMeasured(str(found))
        return found

    def _read_blimp(self) -> blimp.Pairs:
        return blimp.pool(sources.blimp_pairs(self.data))

    def _read_wikitext2(self) -> windows.Windows:
        return windows.pool(windows.articles(sources.wikitext2(self.data)))

    def _read_words(self) -> words.Passages:
        return words.pool(sources.held_out_books(self.data))

    def _read_recall(self) -> None:
        return None  # made up as it goes

    def _read_other(self) -> windows.Windows:
        spec = self.spec.other_than(self.text.name)
        folder = None
        if spec.source == "folder":
            folder = sources.folder_with(self.data, spec.files)
            if folder is None:
                given = "no folder of data is given" if self.data is None else "the folder of data has it not"
                raise NotMeasured(f"text {spec.name}: {given}: {', '.join(spec.files) or 'no files'}")
        try:
            other = load_text(spec, folder)
        except InputError as error:
            raise NotMeasured(str(error)) from error
        if other.sha256 == self.text.sha256:
            raise NotMeasured(f"text {spec.name}: is the text of the run")
        return windows.pool(other)


def _check(model: Decoder) -> None:
    if model.config.context < WINDOW:
        raise NotMeasured(f"model: context: {model.config.context}: items have up to {WINDOW} bytes")
    if model.config.vocab != 256:
        raise NotMeasured(f"model: vocab: {model.config.vocab}: items are bytes")


def _reason(error: Exception) -> str:
    """An error in one line without the folders of this machine, which have no place in a record."""
    return _FOLDERS.sub("", " ".join(str(error).split())) or "no message"
