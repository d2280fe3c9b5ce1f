"""Everything that a chapter says and shows, in the order of the chapters."""

from moebook.book.contents.runs import (
    best_size_table,
    bracketing,
    cost_table,
    gain_figures,
    gains,
    profile_figures,
    run_table,
    study_in_numbers,
    text_title,
    texts,
    whole_table,
)
from moebook.book.say import say

__all__ = [
    "best_size_table", "bracketing", "cost_table", "gain_figures", "gains", "profile_figures", "run_table",
    "say", "study_in_numbers", "text_title", "texts", "whole_table",
]  # fmt: skip
