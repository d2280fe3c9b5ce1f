"""What the chapter on honesty says and shows: sensitivity, calibration on known truths, forecasts scored."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np

from moebook.book.contents.curves import answer, posterior
from moebook.book.contents.fits import MEANING
from moebook.book.contents.runs import text_title
from moebook.book.paths import runs_folder
from moebook.figures import honesty as figures
from moebook.figures import page
from moebook.figures.style import flops_text, percent

CALIBRATED = ("abnar", "chinchilla")
#: Panels of the rank plots, beside those of S*; all quantities are judged.
DRAWN = (
    "level", "alpha", "beta", "gamma", "lambda", "delta", "discrepancy_scale", "noise_scale",
    "log likelihood", "log loss, 10 x the budget",
)  # fmt: skip
PLAIN = {"abnar": "The law of this book on its own runs", "chinchilla": "Chinchilla's law on a grid of runs"}


# What the answer owes to the priors


@cache
def _sensitivity(text: str) -> dict[str, dict[str, Any]]:
    from moebook.bayes.sensitivity import sensitivity

    found, curve = posterior(text), answer(text)
    best = curve.headline_index
    quantities = {MEANING[name].split(",")[0]: found.draws(name) for name in found.law.totals}
    at = f"S* at {flops_text(curve.compute_flops[best])} FLOPs"
    return sensitivity(found, {at: -np.log1p(-curve.sparsity_star[:, best]), **quantities})


def sensitivity_figure(text: str) -> page.Html:
    """How far S* and the law's quantities move with prior and likelihood."""
    from moebook.bayes.sensitivity import COUNTS_FROM

    return page.show(
        figures.sensitivities(_sensitivity(text), COUNTS_FROM),
        "Sensitivity of the best sparsity and of each quantity of the law to prior and likelihood.",
        f"{text_title(text)}: what moves each answer. Right of the broken line it counts.",
    )


def sensitivity_verdict(text: str) -> str:
    """Whether the prior has a say in S*, in a sentence; Markdown."""
    (name, best), *_ = _sensitivity(text).items()
    said = {
        "the data decide": "the data decide it, and reasonable changes of the priors leave it alone",
        "the prior decides": "the prior decides it: it must not be quoted as a finding",
        "both matter": "both matter: the data place it, and the priors still have a say, so that its "
        "interval is conditional on them",
        "neither matters": "neither a somewhat stronger prior nor somewhat stronger data move it by as "
        "much as counts",
    }[best["diagnosis"]]
    return f"**{text_title(text)}:** of {name}, {said}."


# Would it find a truth that is known?


@cache
def calibration(law: str):  # noqa: ANN201
    """The stored calibration of a law."""
    from moebook.bayes.calibrations import read_calibration

    return read_calibration(runs_folder() / "calibration" / f"{law}.json")


def calibration_in_numbers() -> dict[str, str]:
    """What the chapter's prose quotes of the calibrations."""
    found = [calibration(law) for law in CALIBRATED]
    return {
        "calibration_fits": f"{sum(len(one.fits) for one in found):,}",
        "calibration_seconds": " and ".join(f"{one.cpu_seconds:.1f}" for one in found),
        "calibration_quantities": " and ".join(str(len(one.names)) for one in found),
    }


def calibration_figure(law: str) -> page.Html:
    """Rank plots of a law's calibration."""
    from moebook.figures.calibration import rank_plots

    found = calibration(law)
    shown = {n: r for n, r in found.ranks.items() if "S*" in n or n in DRAWN or n in found.rejected}
    titled = {_titled(name): ranks for name, ranks in shown.items()}
    return page.show(
        rank_plots(titled, found.ranked, [_titled(name) for name in found.rejected]),
        "Differences of the distribution of ranks from a uniform one, with bands, for the main quantities.",
        f"{PLAIN[law]}: {len(found.fits)} simulated truths ranked among the draws of their fits. Inside the "
        f"band: as it should be. Drawn are {len(shown)} of the {len(found.names)} quantities.",
    )


def _titled(name: str) -> str:
    """A quantity of a calibration in the words of the chapter."""
    return MEANING.get(name, name).replace("-log(1 - S*)", "−log(1 − S*)").replace(" x the", " times the")


def calibration_verdict(law: str) -> str:
    """Which quantities are calibrated, and how many fits failed a gate; Markdown."""
    found = calibration(law)
    least = min(u.corrected for u in found.uniformity.values())
    failed = found.failed["any"]
    gates = "every fit passed its gates"
    if failed:
        gates = f"{failed} of these short fits failed a gate, and are counted in"
    if not found.rejected:
        return (
            f"**{PLAIN[law]}** ({found.rows} of them): all {len(found.names)} quantities have uniform ranks "
            f"(the smallest p-value, corrected for their number, is {least:.2f}); {gates}."
        )
    wrong = ", ".join(found.rejected)
    return (
        f"**{PLAIN[law]}:** {len(found.names) - len(found.rejected)} of {len(found.names)} quantities have "
        f"uniform ranks. *Not calibrated:* {wrong}; {gates}."
    )


# How wrong were forecasts?


@cache
def forecasts() -> dict[str, Any]:
    """The stored scores: {part: {tables, pooled}}."""
    from moebook.bayes import scoring

    stored = json.loads((runs_folder() / "scores" / "forecasts.json").read_text("utf-8"))
    parts = {}
    for part in ("inner", "top"):
        tables = scoring.by_table(stored["results"], part)
        parts[part] = {"tables": tables, "pooled": scoring.pooled(tables)}
    return parts


def forecast_figure(part: str = "inner") -> page.Html:
    """Coverage of forecasts by table, beside the bootstrap's."""
    tables = forecasts()[part]["tables"]
    names = ("coverage_50", "coverage_90")
    ours, theirs = (
        np.array([[table[who][name] for name in names] for table in tables.values()])
        for who in ("model", "bootstrap")
    )
    return page.show(
        figures.coverages(list(tables), ours, theirs),
        "Share of held-out larger runs inside the 50 and 90 % intervals, by table, ours and the bootstrap's.",
        "Budgets up to one were fitted, the larger ones asked. The broken line is what was promised.",
    )


def forecast_in_numbers() -> dict[str, str]:
    """What the chapter's prose quotes of the scores."""
    parts = forecasts()
    said = {
        "scored_tables": str(len(parts["inner"]["tables"])),
        "scored_groups": str(parts["inner"]["pooled"]["groups"]),
    }
    for part, found in parts.items():
        pooled = found["pooled"]
        for who in ("model", "bootstrap"):
            for level in ("50", "90"):
                said[f"{part}_{who}_{level}"] = percent(pooled[f"{who}.coverage_{level}"]["value"])
        said[f"{part}_crps"] = f"{100 * pooled['crps_ratio_geometric']['value']:.0f} %"
        better = pooled["log_score_better"]["value"] * pooled["tables"]
        said[f"{part}_better"] = f"{better:.0f} of {pooled['tables']}"
    return said


def forecast_table() -> page.Html:
    """Pooled scores of both forecasters, with the interval from drawing tables again.

    CRPS as a ratio in the geometric mean: a bootstrap that runs away on one table would carry a mean.
    """
    import pandas as pd

    rows = []
    titles = {"inner": "rolling origins", "top": "largest budgets"}
    for part, found in forecasts().items():
        pooled = found["pooled"]
        for who, said in (("model", "this book"), ("bootstrap", "bootstrap")):
            row = {"asked for": titles[part], "forecaster": said}
            for name, title in (("coverage_50", "50 % hold"), ("coverage_90", "90 % hold")):
                one = pooled[f"{who}.{name}"]
                low, high = one["tables"]
                row[title] = f"{100 * one['value']:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
            ratio = pooled["crps_ratio_geometric"]["value"] if who == "model" else 1.0
            row["CRPS over the bootstrap's"] = f"{ratio:.2f}"
            row["log score"] = f"{pooled[f'{who}.log_score']['value']:.2f}"
            rows.append(row)
    return page.table(pd.DataFrame(rows), "Forecasts, scored", wrap=("asked for", "forecaster"))
