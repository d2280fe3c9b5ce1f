"""Text from a Hugging Face data set, streamed through the library `datasets`, which is an extra.

Rows are read as they come and go to the spool of the preparation; the data set is never on disk as a whole.
Rows may carry `source` and `split` like those of a folder; otherwise a hash of the text decides the side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moebook.errors import InputError
from moebook.text.documents import Document
from moebook.text.folder import document_of_row
from moebook.text.progress import Progress
from moebook.text.spec import TextSpec


class HuggingFaceSource:
    """One split of a data set; `spec.rows` limits how much of a very large one is read.

    folder: what relative `spec.data_files` are relative to; default: the current folder.
    """

    def __init__(self, spec: TextSpec, folder: Path | None = None) -> None:
        self.spec = spec
        self.sha256 = ""
        self.files = [str((folder or Path()) / name) for name in spec.data_files]
        # What a data set on the Hub holds is told by its revision alone; local files tell it themselves.
        states = {name: _state(Path(name)) for name in self.files if "://" not in name}
        self.fingerprint: dict[str, Any] = {
            "dataset": spec.dataset,
            "revision": spec.revision,
            "files": states,
        }

    def documents(self, progress: Progress) -> Iterator[Document]:
        """All rows, in the order of the data set."""
        spec = self.spec
        try:
            import datasets
        except ImportError:
            raise InputError(
                f"text {spec.name}: dataset: {spec.dataset}: needs the library `datasets`: "
                "pip install -e '.[huggingface]' in the checkout"
            ) from None
        where = f"{spec.dataset}:{spec.split}"
        done = 0
        for number, row in enumerate(_rows(datasets, spec, self.files), start=1):
            document = document_of_row(row, f"{where}:{number}", where, spec.column)
            done += sum(map(len, document.pieces))
            progress("reading rows", done, 0)
            yield document
            if number == spec.rows:
                return


def _rows(datasets: Any, spec: TextSpec, files: list[str]) -> Iterator[Any]:
    """Rows of the streamed data set; its errors in one line."""
    try:
        yield from datasets.load_dataset(
            spec.dataset,
            spec.config or None,
            split=spec.split,
            revision=spec.revision or None,
            data_files=files or None,
            streaming=True,
        )
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # not found, unknown configuration or split, no network
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"text {spec.name}: dataset: {spec.dataset}: {type(error).__name__}: {reason}"
        ) from error


def _state(path: Path) -> list[int]:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path}: data_files: cannot be read: {error.strerror}") from None
    return [state.st_size, state.st_mtime_ns]
