"""Where text comes from and how it is split: a typed, hashable description, as a study file states it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from moebook.errors import InputError

SOURCES = ("packages", "folder", "huggingface")


@dataclasses.dataclass(frozen=True)
class TextSpec:
    """A corpus and its split. `source` and `name` must be given; the rest has defaults.

    Every document is whole on one side of the split. Rows that carry `split` obey it; for the others a hash
    decides, so that `heldout_share` of the documents, in expectation, are held out (at least one always is).

    Raises InputError naming the field and its value where they make no sense.
    """

    source: str
    """`packages` (Python sources of locked packages), `folder` or `huggingface`."""
    name: str
    """Label of the text in records and file names, as in `english`."""
    files: tuple[str, ...] = ()
    """Folder: which files, as stems (`wiki`), names or globs; empty = every supported file."""
    heldout_share: float = 0.02
    """Share of the documents that is held out, strictly between 0 and 1."""
    heldout_document_bytes: int = 16384
    """A held-out document is cut here, so that no single book dominates the held-out set; 0 = no cut."""
    train_bytes: int = 0
    """Cap on the train stream in bytes, whole documents in hash order; 0 = everything."""
    sha256: str = ""
    """Expected checksum of the prepared text; a different one is refused. Empty = whatever is read."""
    dataset: str = ""
    """Hugging Face: name of the data set, or a builder (`json`, `parquet`, `text`) with `data_files`."""
    config: str = ""
    """Hugging Face: configuration of the data set, empty = its default."""
    split: str = "train"
    """Hugging Face: which split is read; moebook holds out its own share of it."""
    column: str = "text"
    """Hugging Face: the column that holds the text."""
    revision: str = ""
    """Hugging Face: commit or tag of the data set, empty = the newest."""
    data_files: tuple[str, ...] = ()
    """Hugging Face: local files for a builder."""
    rows: int = 0
    """Hugging Face: stop after so many rows; 0 = all of them."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type.startswith("tuple"):
                if not isinstance(value, list | tuple) or not all(
                    isinstance(item, str) and item for item in value
                ):
                    self._refuse(field.name, "must be a list of names")
                object.__setattr__(self, field.name, tuple(value))
            elif field.type == "int":
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    self._refuse(field.name, "must be a whole number, zero or more")
            elif field.type == "float":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    self._refuse(field.name, "must be a number")
                object.__setattr__(self, field.name, float(value))
            elif not isinstance(value, str):
                self._refuse(field.name, "must be a string")
        if self.source not in SOURCES:
            self._refuse("source", f"must be one of {', '.join(SOURCES)}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.name):
            self._refuse("name", "must be lower-case letters, digits, '-', '_' and '.'")
        if not 0 < self.heldout_share < 1:
            self._refuse("heldout_share", "must be above 0 and below 1")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            self._refuse("sha256", "must be 64 hexadecimal digits")
        if (self.source == "huggingface") != bool(self.dataset):
            self._refuse("dataset", "must be given for source huggingface, and only there")

    def _refuse(self, field: str, why: str) -> None:
        raise InputError(f"text: {field}: {getattr(self, field)!r}: {why}")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str = "text") -> TextSpec:
        """The specification in a mapping, as read from YAML or JSON; `where` names the file in errors."""
        if not isinstance(mapping, Mapping):
            raise InputError(f"{where}: text: {mapping!r}: must be a mapping of fields")
        known = {field.name for field in dataclasses.fields(cls)}
        for field in mapping:
            if field not in known:
                raise InputError(f"{where}: {field}: {mapping[field]!r}: unknown field of a text")
        for field in ("source", "name"):
            if field not in mapping:
                raise InputError(f"{where}: {field}: missing from the text")
        try:
            # YAML gives lists; a string or a number in their place is named by the checks above.
            return cls(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in mapping.items()}
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for canonical JSON, every field present."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    def preparation(self) -> dict[str, Any]:
        """The fields that decide the prepared bytes: all but the label and the expected checksum."""
        return {key: value for key, value in self.to_mapping().items() if key not in ("name", "sha256")}
