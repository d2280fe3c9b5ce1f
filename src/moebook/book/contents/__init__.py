"""Everything that the chapters say and show: sentences, tables and figures made from runs and posteriors."""

from moebook.book.contents.answers import (
    answer,
    answer_table,
    bibtex,
    curve,
    fixed_size_table,
    headline,
    live_loss,
    live_posterior,
    middle_budget,
    optimum_in_numbers,
    posterior,
    spread_figure,
)
from moebook.book.contents.claims import (
    claim_figure,
    claim_notes,
    claim_parts,
    claim_probabilities,
    claim_table,
)
from moebook.book.contents.fits import (
    contraction_figure,
    estimate_table,
    fit_in_numbers,
    gate_table,
    identified,
    predictive_figure,
    prior_table,
)
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
from moebook.book.contents.use import recovered
from moebook.book.paths import runs_folder
from moebook.book.say import say

__all__ = [
    "answer", "answer_table", "best_size_table", "bibtex", "bracketing", "claim_figure", "claim_notes",
    "claim_parts", "claim_probabilities", "claim_table", "contraction_figure", "cost_table", "curve",
    "estimate_table", "fit_in_numbers", "fixed_size_table", "gain_figures", "gains", "gate_table",
    "headline", "identified", "live_loss", "live_posterior", "middle_budget", "optimum_in_numbers",
    "posterior", "predictive_figure", "prior_table", "profile_figures", "recovered", "run_table",
    "runs_folder", "say", "spread_figure", "study_in_numbers", "text_title", "texts", "whole_table",
]  # fmt: skip
