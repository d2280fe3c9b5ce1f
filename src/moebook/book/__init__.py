"""The book: building it, and everything a chapter shows, as functions that a test can call.

Chapters import from here and from the rooms below; they hold prose and calls, no logic.
"""

from moebook.book.building import BookError, BookResult, build, chapters, check_place
from moebook.book.paths import posterior_folders, project_root, runs_folder

__all__ = [
    "BookError", "BookResult", "build", "chapters", "check_place", "posterior_folders", "project_root",
    "runs_folder",
]  # fmt: skip
