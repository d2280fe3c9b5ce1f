"""What the chapter on other people's runs says and shows, from the stored refits (`moebook refit`)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from moebook.book.paths import project_root, runs_folder
from moebook.errors import InputError
from moebook.figures import others as figures
from moebook.figures import page

ROUTERS = ("S-Base", "RL-R", "Hash")
#: What was measured, by table: who, what varied, which law was drawn.
MEASURED = {
    "chinchilla": ("Hoffmann et al.", "size, data", "Chinchilla"),
    "clark2022": ("Clark et al.", "size, experts, router", "Clark"),
    "porian2024": ("Porian et al.", "size, data, recipe", "none; here Chinchilla"),
}
SYMBOLS = {"alpha": "α", "beta": "β", "E_start": "E start", "E_max": "E max"}
EXPONENTS = {"chinchilla": ("alpha", "beta"), "clark": ("a", "b", "c")}
ALL_RUNS = "all runs"


@cache
def refits() -> dict[str, Any]:
    """The stored refits: of the runs that the book reads, else the project's own."""
    from moebook.bayes.refits import FILE, load_refits

    paths = [folder / "refits" / FILE for folder in (runs_folder(), project_root() / "runs")]
    found = load_refits(next((path for path in paths if path.is_file()), paths[-1]))["tables"]
    if missing := [name for name in MEASURED if not found.get(name, {}).get("parts")]:
        raise InputError(f"{paths[-1]}: {missing[0]}: missing: `moebook refit` adds it")
    return found


def part(table: str, name: str) -> dict[str, Any]:
    """One part of a table."""
    return refits()[table]["parts"][name]


def fit(table: str, name: str, law: str) -> dict[str, Any]:
    """Point fit and posterior of one law on one part; of a posterior that failed its gates, InputError."""
    found = part(table, name)["fits"][law]
    if found["posterior"]["status"] != "passed":
        raise InputError(f"refits: {table}, {name}, {law}: the posterior failed a gate: nothing is quoted")
    return found


def main_fits() -> list[tuple[str, str, str, dict[str, Any]]]:
    """(table, part, law, fit) of every part that has printed coefficients."""
    named = [("chinchilla", ALL_RUNS, "chinchilla"), *(("clark2022", r, "clark") for r in ROUTERS)]
    return [(table, name, law, fit(table, name, law)) for table, name, law in named]


def refits_in_numbers() -> dict[str, str]:
    """What the chapter's prose quotes."""
    clark = refits()["clark2022"]
    fits = [one for table in refits().values() for p in table["parts"].values() for one in p["fits"].values()]
    held = [p["held_out"] for p in clark["parts"].values()]
    dense, size = clark["dense"], fit("chinchilla", ALL_RUNS, "chinchilla")["posterior"]["best_size"]
    return {
        "refit_tables": str(len(refits())),
        "refit_posteriors": str(len(fits) + len(held)),
        "dense_runs": str(dense["rows"]),
        "dense_exponent": f"{dense['exponent']:.4f} ± {dense['error']:.4f}",
        "chinchilla_runs": str(part("chinchilla", ALL_RUNS)["rows"]),
        "chinchilla_size": f"{size['q50']:.2f} ({size['q05']:.2f} to {size['q95']:.2f})",
        "seed_runs": str(clark["seed_noise"]["runs"]),
        "seed_percent": share(clark["seed_noise"]["relative"]),
    }


def measured_table() -> page.Html:
    """Whose tables, what varies in them, and on what terms they are given out."""
    import pandas as pd

    rows = []
    for name, (who, varied, law) in MEASURED.items():
        told = refits()[name]
        count = sum(one["rows"] for one in told["parts"].values())
        parts = len(told["parts"])
        rows.append(
            {
                "source": f"{who} ({told['paper']})", "losses fitted": count, "parts": parts,
                "what varies": varied, "law": law, "licence": told["licence"],
            }
        )  # fmt: skip
    return page.table(pd.DataFrame(rows), "The tables", wrap=("source", "what varies", "law"))


def checksum_table() -> page.Html:
    """Where each file comes from and its checksum, folded."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "repository": told["repository"], "commit": told["commit"][:12],
            "file": file.removeprefix("https://raw.githubusercontent.com/"), "sha256": mark[:16],
        }
        for told in refits().values()
        for file, mark in told["files"].items()
    )  # fmt: skip
    return page.table(frame, fold="The files, and how their checksums begin")


def printed_in_words() -> str:
    """How far printed coefficients are from ours, and what each set leaves over; Markdown."""
    lines = []
    for table, name, _law, one in main_fits():
        found = one["point"]["coefficients"].values()
        near = sum(abs(c["apart"]) < 1 for c in found)
        inside = sum(c["low"] <= c["printed"] <= c["high"] for c in found)
        ours, theirs = one["point"]["rmse_log10"], one["point"]["rmse_log10_printed"]
        lines.append(
            f"- **{title_of(table, name)}:** {near} of {len(found)} printed coefficients lie within one "
            f"standard error of ours, {inside} inside the 90 % interval of the bootstrap. Our curve misses "
            f"the runs by {share(_natural(ours))} of the loss, theirs by {share(_natural(theirs))}."
        )
    return "\n".join(lines)


def coefficient_figure() -> page.Html:
    """Exponents beside what is printed: bootstrap and posterior, all over our point fit."""
    labels, boots, posteriors, printed = [], [], [], []
    for table, name, law, one in main_fits():
        for key in EXPONENTS[law]:
            c, q = one["point"]["coefficients"][key], one["posterior"]["quantities"][key]
            labels.append(f"{title_of(table, name)}: {symbol(key)}")
            value = c["value"]
            boots.append(_over(value, c["low"], value, c["high"]))
            posteriors.append(_over(value, q["q05"], q["q50"], q["q95"]))
            printed.append(c["printed"] / value)
    figure = figures.intervals(
        labels, {"bootstrap": boots, "posterior": posteriors}, "exponent, over our point fit",
        {"as printed": printed}, (1.0, ""),
    )  # fmt: skip
    return page.show(
        figure, "Intervals of each exponent by bootstrap and by posterior, beside the printed value.",
        "The exponents of both laws, 90 % intervals. One means: our point fit.",
    )  # fmt: skip


def coefficient_table() -> page.Html:
    """Every coefficient that is printed, refitted, folded."""
    import pandas as pd

    from moebook.cite import in_digits

    rows = []
    for table, name, _law, one in main_fits():
        for key, c in one["point"]["coefficients"].items():
            digits = c["error"] / 100
            q = one["posterior"]["quantities"][key]
            posterior = [in_digits(q[e], max(q[f"mcse_{e}"], digits)) for e in ("q05", "q50", "q95")]
            rows.append(
                {
                    "runs": title_of(table, name), "": symbol(key),
                    "printed": f"{c['printed']:g}", "refit": in_digits(c["value"], digits),
                    "standard error": in_digits(c["error"], c["error"] / 30),
                    "apart": f"{round(c['apart'], 1) + 0.0:+.1f}",
                    "bootstrap 5 %": in_digits(c["low"], digits), "95 %": in_digits(c["high"], digits),
                    "posterior 5 %": posterior[0], "median": posterior[1], "95 % ": posterior[2],
                    "identified": "yes" if q["identified"] else "no",
                }
            )  # fmt: skip
    return page.table(pd.DataFrame(rows), fold="Every coefficient: printed, refitted, and both intervals")


def widths_in_words() -> str:
    """How much wider posterior intervals of the exponents are than bootstrap intervals; Markdown."""
    ratios = []
    for _, _, law, one in main_fits():
        for key in EXPONENTS[law]:
            c, q = one["point"]["coefficients"][key], one["posterior"]["quantities"][key]
            ratios.append((q["q95"] - q["q05"]) / (c["high"] - c["low"]))
    wider = sum(ratio > 1 for ratio in ratios)
    return (
        f"Of these {len(ratios)} intervals, {wider} are wider in the posterior than by the bootstrap: "
        f"{min(ratios):.1f} to {max(ratios):.1f} times as wide, {np.median(ratios):.1f} in the middle."
    )


def symbol(name: str) -> str:
    """A coefficient as the chapter writes it."""
    return SYMBOLS.get(name, name)


def title_of(table: str, name: str) -> str:
    """A part as the chapter calls it."""
    return f"Clark, {name}" if table == "clark2022" else "Chinchilla"


def share(value: float) -> str:
    """A small share with two digits: 0.74 %, 0.024 %, 5.3 %."""
    return f"{100 * value:#.2g}".rstrip(".") + " %"


def _natural(rmse_log10: float) -> float:
    return rmse_log10 * float(np.log(10))


def _over(unit: float, *values: float) -> tuple[float, float, float]:
    """(low, middle, high) over a unit of either sign, from low to high."""
    low, middle, high = sorted(value / unit for value in values)
    return low, middle, high
