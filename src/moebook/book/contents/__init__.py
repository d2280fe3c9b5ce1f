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
    without_a_law,
)
from moebook.book.contents.asides import granularity_in_words, granularity_table, purposes
from moebook.book.contents.bars import bars_in_words
from moebook.book.contents.claims import (
    claim_figure,
    claim_notes,
    claim_parts,
    claim_probabilities,
    claim_table,
)
from moebook.book.contents.costs import (
    equal_in_words,
    feed_forward_figure,
    feed_forward_table,
    feed_forwards_in_words,
    machines,
    measured_in_words,
    step_figures,
    step_table,
    steps_in_words,
    update_in_words,
)
from moebook.book.contents.curves import answer, curve, posterior
from moebook.book.contents.downstream import (
    effect_figure,
    effect_table,
    score_figures,
    score_list,
    scores_at_equal_compute,
)
from moebook.book.contents.downstream_words import (
    corrected_in_words,
    effects_in_words,
    eighth_claim,
    exception_in_words,
    scores_in_numbers,
)
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
from moebook.book.contents.fixed import fixed_params_figures, fixed_params_in_words, fixed_width_figures
from moebook.book.contents.forecasts import (
    forecast_before_figure,
    forecast_before_in_words,
    forecasts_in_short,
    forecasts_together,
    written_forecasts,
)
from moebook.book.contents.gpu_costs import gpu_in_words, gpu_tables
from moebook.book.contents.groups import groups_in_words
from moebook.book.contents.hindsight import hindsight_in_words, hindsight_table
from moebook.book.contents.honesty import (
    CALIBRATED,
    calibration_figure,
    calibration_in_numbers,
    calibration_verdict,
    forecast_figure,
    forecast_in_numbers,
    forecast_table,
    sensitivity_figure,
    sensitivity_verdict,
)
from moebook.book.contents.others import (
    checksum_table,
    coefficient_figure,
    coefficient_table,
    measured_table,
    printed_in_words,
    refits_in_numbers,
    widths_in_words,
)
from moebook.book.contents.others_recipes import recipe_figures, recipe_table, recipes_in_words
from moebook.book.contents.others_wrong import (
    form_table,
    forms_in_words,
    held_out_figure,
    held_out_in_words,
    split_in_words,
    spread_of_laws_figure,
    spread_of_laws_in_words,
)
from moebook.book.contents.paper_costs import (
    conventions_figure,
    conventions_off,
    memory_figure,
    paper_in_numbers,
    terms_table,
)
from moebook.book.contents.priors import (
    law_table,
    misfit_figure,
    misfit_in_numbers,
    prior_figure,
    prior_verdict,
)
from moebook.book.contents.run_costs import (
    beside_the_runs,
    equal_time_in_words,
    equal_time_table,
    minutes_table,
    slowdown_figures,
    slowdown_in_words,
)
from moebook.book.contents.runs import (
    cost_table,
    gain_figures,
    gains,
    overview,
    profile_figures,
    quick_study,
    readings,
    run_table,
    study_in_numbers,
    text_title,
    texts,
    texts_in_words,
    whole_table,
)
from moebook.book.contents.seeds import noise, noise_table
from moebook.book.contents.sizes import best_size_table, bracketing
from moebook.book.contents.tuning import (
    batch_rule_in_words,
    batch_table,
    rates_in_words,
    rule_in_words,
    trained_by,
    tuning_figures,
    tuning_limits,
    tuning_studies,
    wrong_rate_in_words,
    wrong_rate_table,
)
from moebook.book.contents.use import recovered
from moebook.book.contents.wrong_rates import (
    tuned_texts,
    wrong_rate_optimum,
    wrong_rate_optimum_in_words,
)
from moebook.book.paths import runs_folder
from moebook.book.say import prose, say

__all__ = [
    "answer", "answer_table", "bars_in_words", "batch_rule_in_words", "batch_table", "beside_the_runs",
    "best_size_table", "bibtex", "bracketing", "CALIBRATED", "calibration_figure", "calibration_in_numbers",
    "calibration_verdict", "checksum_table", "claim_figure", "claim_notes", "claim_parts",
    "claim_probabilities", "claim_table", "coefficient_figure", "coefficient_table", "contraction_figure",
    "conventions_figure", "conventions_off", "corrected_in_words", "cost_table", "curve", "effect_figure",
    "effect_table", "effects_in_words", "eighth_claim", "equal_in_words", "equal_time_in_words",
    "equal_time_table", "estimate_table", "exception_in_words", "feed_forward_figure", "feed_forward_table",
    "feed_forwards_in_words", "fit_in_numbers", "fixed_params_figures", "fixed_params_in_words",
    "fixed_size_table", "fixed_width_figures", "forecast_before_figure", "forecast_before_in_words",
    "forecast_figure", "forecast_in_numbers", "forecast_table", "forecasts_in_short", "forecasts_together",
    "form_table", "forms_in_words", "gain_figures", "gains", "gate_table", "gpu_in_words", "gpu_tables",
    "granularity_in_words", "granularity_table", "groups_in_words", "headline", "held_out_figure",
    "held_out_in_words", "hindsight_in_words", "hindsight_table", "identified", "law_table", "live_loss",
    "live_posterior", "machines", "measured_in_words", "measured_table", "memory_figure", "middle_budget",
    "minutes_table", "misfit_figure", "misfit_in_numbers", "noise", "noise_table", "optimum_in_numbers",
    "overview", "paper_in_numbers", "posterior", "predictive_figure", "predictive_verdict", "price",
    "printed_in_words", "prior_figure", "prior_table", "prior_verdict", "profile_figures", "prose",
    "purposes", "quick_study", "rates_in_words", "readings", "recipe_figures", "recipe_table",
    "recipes_in_words", "recovered", "refits_in_numbers", "rule_in_words", "run_table", "runs_folder",
    "say", "score_figures", "score_list", "scores_at_equal_compute", "scores_in_numbers",
    "sensitivity_figure", "sensitivity_verdict", "slowdown_figures", "slowdown_in_words", "split_in_words",
    "spread_figure", "spread_of_laws_figure", "spread_of_laws_in_words", "step_figures", "step_table",
    "steps_in_words", "study_in_numbers", "terms_table", "text_title", "texts", "texts_in_words",
    "trained_by", "tuned_texts", "tuning_figures", "tuning_limits", "tuning_studies", "update_in_words",
    "verdicts", "whole_table", "widths_in_words", "without_a_law", "written_forecasts",
    "wrong_rate_in_words", "wrong_rate_optimum", "wrong_rate_optimum_in_words", "wrong_rate_table",
]  # fmt: skip
