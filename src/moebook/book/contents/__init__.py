"""Everything that the chapters say and show: sentences, tables and figures made from runs and posteriors."""

from moebook.book.contents.answers import (
    answer_table,
    bibtex,
    fixed_size_table,
    headline,
    live_loss,
    live_posterior,
    middle_budget,
    optimum_in_numbers,
    price,
    spread_figure,
    verdicts,
)
from moebook.book.contents.claims import (
    claim_figure,
    claim_notes,
    claim_parts,
    claim_probabilities,
    claim_table,
)
from moebook.book.contents.curves import answer, curve, posterior
from moebook.book.contents.fits import (
    contraction_figure,
    estimate_table,
    fit_in_numbers,
    gate_table,
    identified,
    predictive_figure,
    predictive_verdict,
    prior_table,
)
from moebook.book.contents.runs import (
    best_size_table,
    bracketing,
    cost_table,
    gain_figures,
    gains,
    noise,
    overview,
    profile_figures,
    quick_study,
    readings,
    run_table,
    study_in_numbers,
    text_title,
    texts,
    whole_table,
)
from moebook.book.contents.use import recovered
from moebook.book.paths import runs_folder
from moebook.book.say import prose, say

__all__ = [
    "answer", "answer_table", "best_size_table", "bibtex", "bracketing", "claim_figure", "claim_notes",
    "claim_parts", "claim_probabilities", "claim_table", "contraction_figure", "cost_table", "curve",
    "estimate_table", "fit_in_numbers", "fixed_size_table", "gain_figures", "gains", "gate_table",
    "headline", "identified", "live_loss", "live_posterior", "middle_budget", "noise", "optimum_in_numbers",
    "overview", "posterior", "predictive_figure", "predictive_verdict", "price", "prior_table",
    "profile_figures", "prose", "quick_study", "readings", "recovered", "run_table",
    "runs_folder", "say", "spread_figure", "study_in_numbers", "text_title", "texts", "verdicts",
    "whole_table",
]  # fmt: skip
