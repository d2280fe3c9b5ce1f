"""What the chapter on the fit says and shows: law, priors, gates, checks, what is identified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moebook.bayes.checks import extremes
from moebook.book.contents.curves import posterior
from moebook.book.contents.runs import text_title, texts
from moebook.figures import fit as figures
from moebook.figures import page
from moebook.figures.report import MEANING
from moebook.figures.style import percent

if TYPE_CHECKING:
    from moebook.bayes import Posterior

def fit_in_numbers() -> dict[str, str]:
    """What the chapter's prose quotes of all fits, and the rule behind "not identified"."""
    from moebook.bayes.checks import IDENTIFIED_FROM

    fits = {text: posterior(text) for text in texts()}
    noise = [
        f"{100 * np.median(fit.draws('noise_scale')):.1f} % ({text_title(t)})" for t, fit in fits.items()
    ]
    return {
        "chains": " or ".join(sorted({str(fit.chains) for fit in fits.values()})),
        "draws": " or ".join(sorted({f"{fit.summary['draws']['each']:,}" for fit in fits.values()})),
        "again": " or ".join(sorted({str(_sampler(fit)["again"]) for fit in fits.values()})),
        "noise_percent": " and ".join(noise),
        "identified_from": f"{100 * IDENTIFIED_FROM:.0f} %",
    }


def _sampler(fit: Posterior) -> dict[str, Any]:
    return fit.summary["ingredients"]["sampler"]


def predictive_verdict(text: str) -> str:
    """Whether the fitted model predicts runs like those seen, in a sentence that names the text; Markdown."""
    found = posterior(text)
    check = found.summary["checks"]["posterior_predictive"]
    shares = {level: f"{100 * share:.0f} %" for level, share in check["coverage"].items()}
    extreme = extremes(check["p_values"])
    worst = min(check["p_values"], key=lambda name: min(check["p_values"][name], 1 - check["p_values"][name]))
    tests = (
        f"Of {len(check['p_values'])} ways to look for a pattern in what is left over, none is extreme"
        if not extreme
        else f"Something is left over: {', '.join(extreme)}, which replicated data rarely show"
    )
    many = check["coverage"]["50"] > 0.5 + 2 * np.sqrt(0.25 / found.summary["rows"])
    why = ": more than promised, for these runs were fitted and the misfit follows them" if many else ""
    return (
        f"**{text_title(text)}:** of the {found.summary['rows']} runs, {shares['90']} lie inside their 90 % "
        f"interval and {shares['50']} inside their 50 % interval{why}. {tests}. "
        f"The most extreme is the {worst}: {percent(check['p_values'][worst])} of the draws show as much of "
        "it in the data that they make themselves (extreme would be less than 2.5 % or more than 97.5 %)."
    )


def prior_table(text: str) -> page.Html:
    """The priors of a fit: what they are and what 90 % of their draws say, drawn, not derived."""
    import pandas as pd

    found = posterior(text)
    rows = []
    for name, meaning in MEANING.items():
        if name not in found.data.prior:
            continue
        draws = found.draws(name, "prior")
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        rows.append({"quantity": meaning, "5 %": low, "median": middle, "95 %": high})
    forms = dict.fromkeys(("5 %", "median", "95 %"), "{:.3g}")
    return page.table(pd.DataFrame(rows), f"The priors, by their quantiles ({text_title(text)})", forms)


def gate_table() -> page.Html:
    """Every gate of every cited posterior: what is demanded, what was found, where it was worst."""
    import pandas as pd

    rows = []
    for text in texts():
        for gate in posterior(text).summary["gates"]:
            rows.append(
                {
                    "posterior": text_title(text),
                    "gate": gate["name"],
                    "must be": gate["demand"],
                    "worst found": f"{gate['value']:.4g}",
                    "at": MEANING.get(gate["worst"], gate["worst"]),
                    "": "passed" if gate["passed"] else "failed",
                }
            )
    return page.table(pd.DataFrame(rows), "The gates", wrap=("posterior", "at"))


def predictive_figure(text: str) -> page.Html:
    """Observed minus predicted loss of every run, with the predictive intervals."""
    found = posterior(text)
    rows = found.rows
    names = [name for name in ("params", "tokens", "sparsity") if name in rows]
    predicted = found.predict(**{name: rows[name] for name in names}, noise=True)
    low, middle, high = np.quantile(predicted, [0.05, 0.5, 0.95], axis=0)
    figure = figures.predictive_check(rows["loss_nats"], low, middle, high, rows["sparsity"])
    return page.show(
        figure,
        "Observed minus predicted loss of every run against the predicted loss, with predictive intervals.",
        f"{text_title(text)}: every run, against what the fitted model predicts for such a run, 90 % "
        "intervals.",
    )


def contraction_figure(text: str) -> page.Html:
    """How much narrower each quantity became."""
    estimates = posterior(text).summary["estimates"]
    shares = {_symbol(name): e["contraction"] for name, e in estimates.items() if name in MEANING}
    return page.show(
        figures.contraction(shares),
        "Bars: contraction from prior to posterior of each quantity of the law.",
        f"{text_title(text)}: what the data taught. Hatched: mostly the prior. The quantities are "
        "named below.",
    )


def identified(text: str) -> str:
    """Which quantities the data decide, which the prior; Markdown."""
    estimates = posterior(text).summary["estimates"]
    named = {name: e for name, e in estimates.items() if name in MEANING}
    yes = [_symbol(name) for name, e in named.items() if e["identified"]]
    no = [_symbol(name) for name, e in named.items() if not e["identified"]]
    lines = [
        f"**{text_title(text)}:** the data decide {len(yes)} of {len(named)}: {', '.join(yes)}."
        if yes
        else f"**{text_title(text)}:** the data decide none."
    ]
    if no:
        lines.append(f"*Not identified:* {', '.join(no)}.")
    return " ".join(lines)


def estimate_table(text: str) -> page.Html:
    """Posterior of the law's quantities, no finer than the Monte Carlo error, folded away."""
    import pandas as pd

    from moebook.cite import in_digits

    estimates = posterior(text).summary["estimates"]
    rows = []
    for name, meaning in MEANING.items():
        if name in estimates:
            e = estimates[name]
            numbers = {q: in_digits(e[q], e[f"mcse_{q}"]) for q in ("q05", "q50", "q95")}
            rows.append({"quantity": meaning} | numbers | {"identified": "yes" if e["identified"] else "no"})
    frame = pd.DataFrame(rows).rename(columns={"q05": "5 %", "q50": "median", "q95": "95 %"})
    return page.table(frame, fold=f"{text_title(text)}: the law's quantities, median and 90 % interval")


def _symbol(name: str) -> str:
    """The short symbol of a quantity, or its name in words."""
    return MEANING[name].split(",")[0]
