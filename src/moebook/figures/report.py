"""The report of a fit: one HTML file that needs nothing else, for a screen of any size, light or dark."""

from __future__ import annotations

import html
import importlib.metadata
import platform
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from moebook import __version__
from moebook.bayes.checks import extremes
from moebook.figures import diagnosis, page
from moebook.figures.style import unbroken

if TYPE_CHECKING:
    from moebook.bayes import Posterior

REPORT_FILE = "report.html"
PACKAGES = ("numpy", "scipy", "pymc", "pytensor", "nutpie", "numba", "arviz")
#: Names of the fit in words, with the symbols of the book: of the laws in SPELT, whose terms these are.
MEANING = {
    "level": "L₀, loss at the centre of the data",
    "data_share": "ρ_D, share of it that more data would remove",
    "floor_of_rest": "ρ_E, share of the rest that is floor",
    "size_plain_share": "φ, share of the size term that sparsity leaves alone",
    "floor_tilt_share": "ψ, share of the floor that moves with sparsity",
    "alpha": "α, exponent of the plain size term",
    "beta": "β, exponent of the data term",
    "gamma": "γ, exponent of the size term that sparsity moves",
    "lambda": "λ, power of 1 − S in the floor",
    "delta": "δ, power of 1 − S in the size term",
    "discrepancy_scale": "scale of the discrepancy",
    "noise_scale": "σ, scale of the noise",
    "tail": "1/ν, heaviness of the noise's tails",
}
SPELT = ("abnar", "chinchilla")
#: A quantity whose prior spans more than this factor is drawn on a logarithmic axis.
DECADES = 20.0


def report(posterior: Posterior, source: str, command: str = "") -> str:
    """A fit as a page: what was read, warnings, figures, gates, estimates, identity.

    source: what the table is called; command: the command line that made the fit.
    """
    summary = posterior.summary
    title = f"{posterior.law.title}: fit to {source.rpartition('/')[2]}"
    parts = [
        _head(posterior, title),
        _doubts(summary),
        "<h2>What was read</h2>", _columns(summary),
        "<h2>The runs</h2>", _runs(posterior),
        "<h2>Predicted and observed</h2>", _predictions(posterior),
        "<h2>Gates</h2>", _gates(summary),
        "<h2>Estimates</h2>", _estimates(summary),
        "<h2>What the data taught</h2>", _priors(posterior),
        "<h2>Identity</h2>", _identity(summary, source, command),
    ]  # fmt: skip
    style = files("moebook.figures").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(posterior: Posterior, title: str) -> str:
    summary = posterior.summary
    failed = [gate["name"] for gate in summary["gates"] if not gate["passed"]]
    if posterior.passed:
        verdict = '<span class="good">Every gate is passed</span>: the posterior may be quoted.'
        verdict += "".join(f' <span class="bad">{html.escape(line)}</span>' for line in _left_over(summary))
    else:
        verdict = (
            f'<span class="bad">Failed: {html.escape(", ".join(failed))}</span>. Nothing may be quoted from '
            "this posterior; more draws, or a simpler law, may help."
        )
    inside = _coverage(summary).get("90")
    left_out = sum(summary.get("excluded", {}).values())
    known = [estimate["identified"] for estimate in summary["estimates"].values()]
    facts = {
        "runs": f"{summary['rows']:,}", "left out": f"{left_out:,}",
        "warnings": str(len(summary.get("warnings", ()))),
        "of the runs inside their 90 % interval": "–" if inside is None else f"{100 * inside:.0f} %",
        "quantities that the data decide": f"{sum(known)} of {len(known)}" if known else "–",
    }  # fmt: skip
    listed = "".join(f"<li><b>{html.escape(v)}</b>{html.escape(name)}</li>" for name, v in facts.items())
    return f'<h1>{html.escape(title)}</h1><p>{verdict}</p><ul class="facts">{unbroken(listed)}</ul>'


def _left_over(summary: Mapping[str, Any]) -> list[str]:
    """A sentence where data made by the model seldom look like the runs."""
    checks = summary.get("checks", {}).get("posterior_predictive", {})
    odd = extremes(checks.get("p_values", {}))
    return [f"Something is left over: {', '.join(odd)}."] if odd else []


def _doubts(summary: Mapping[str, Any]) -> str:
    said = [("warning", entry["says"]) for entry in summary.get("warnings", ())]
    said += [("note", entry["says"]) for entry in summary.get("notes", ())]
    if not said:
        return ""
    lines = (
        f'<p class="{kind}">{"<b>Warning:</b> " if kind == "warning" else ""}{html.escape(text)}.</p>'
        for kind, text in said
    )
    return f"<h2>Warnings</h2>{''.join(lines)}"


def _columns(summary: Mapping[str, Any]) -> str:
    import pandas as pd

    if not summary.get("columns"):
        ranges = [
            {"quantity": name, "from": low, "to": high} for name, (low, high) in summary["ranges"].items()
        ]
        return page.table(pd.DataFrame(ranges), formats={"from": "{:.5g}", "to": "{:.5g}"})
    rows = [
        {
            "quantity": column["field"].removesuffix("_nats"), "column": column["column"],
            "times": None if column["scale"] == 1 else f"{column['scale']:.6g}",
            "from": column["low"], "to": column["high"], "values": column["distinct"],
        }
        for column in summary["columns"]
    ]  # fmt: skip
    frame = pd.DataFrame(rows).dropna(axis=1, how="all")  # no column of units where none was read
    table = page.table(frame, formats={"from": "{:.5g}", "to": "{:.5g}", "values": "{:,}"}, wrap=("column",))
    lines = [*summary.get("derived", ())]
    lines += [f"left out: {count} {status}" for status, count in summary.get("excluded", {}).items()]
    return table + "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _runs(posterior: Posterior) -> str:
    rows, names = posterior.rows, posterior.law.columns
    sparsity = rows.get("sparsity")
    compute = posterior.compute_flops
    across, values = ("compute_flops", compute) if compute is not None else (names[0], rows[names[0]])
    figures = []
    if len(names) > 1:
        x, y = names[:2]
        figures.append((diagnosis.plane(rows[x], rows[y], x, y, sparsity), f"The runs by {x} and {y}."))
    loss = diagnosis.plane(values, rows["loss_nats"], across, "loss (nats)", sparsity, loss=True)
    figures.append((loss, f"The loss of each run against {across}."))
    return page.grid(figures, f"Every run: where it lies, and its loss.{_thinned(len(rows['loss_nats']))}")


def _predictions(posterior: Posterior) -> str:
    from moebook.bayes.posterior import Surface

    rows, names = posterior.rows, posterior.law.columns
    surface = Surface(posterior, [rows[name] for name in names], "posterior", True)
    curve = np.log(surface(slice(None)))
    noisy = curve + posterior.noise(curve.shape[1])
    low, middle, high = np.exp(np.quantile(noisy, [0.05, 0.5, 0.95], axis=0))
    sparsity, loss = rows.get("sparsity"), rows["loss_nats"]
    percent = 100 * (np.log(loss) - np.median(curve, axis=0))
    shown = [
        (
            diagnosis.observed_against_predicted(loss, low, middle, high, sparsity),
            "Observed against predicted loss of every run, with 90 % predictive intervals.",
        )
    ]
    shown += [
        (diagnosis.residuals(rows[name], name, percent, sparsity), f"Residuals of every run along {name}.")
        for name in names
    ]
    share = _coverage(posterior.summary)
    said = "".join(
        f" {level} % intervals hold {100 * part:.0f} % of the runs." for level, part in share.items()
    )
    left = "".join(f" {line}" for line in _left_over(posterior.summary))
    caption = (
        "First: a mark a run, the bar its 90 % predictive interval. Then what is left over along each "
        "quantity (line: running median): a trend or a bend there is misfit that the model did not take up."
        f"{said}{left}{_thinned(len(loss))}"
    )
    return page.grid(shown, caption)


def _gates(summary: Mapping[str, Any]) -> str:
    import pandas as pd

    rows = [
        {
            "gate": gate["name"], "must be": gate["demand"], "worst found": f"{gate['value']:.4g}",
            "at": gate["worst"], "": "passed" if gate["passed"] else "FAILED",
        }
        for gate in summary["gates"]
    ]  # fmt: skip
    text = page.table(pd.DataFrame(rows), "What the draws must show before anything is quoted from them")
    checks = summary.get("checks", {})
    if "posterior_predictive" in checks:
        odd = extremes(checks["posterior_predictive"]["p_values"])
        values = [
            {"pattern in the residuals": name, "p": p, "": "extreme" if name in odd else ""}
            for name, p in checks["posterior_predictive"]["p_values"].items()
        ]
        text += page.table(
            pd.DataFrame(values), "How often data made by the model show more of it than the runs do",
            formats={"p": "{:.3f}"},
        )  # fmt: skip
    if "prior_predictive" in checks:
        low, high = checks["prior_predictive"]["loss_90"]
        seen = checks["prior_predictive"]["observed_range"]
        text += (
            f"<p>Before seeing the runs the model expected losses from {low:.3g} to {high:.3g} nats (90 %); "
            f"they lie from {seen[0]:.3g} to {seen[1]:.3g}.</p>"
        )
    return unbroken(text)


def _estimates(summary: Mapping[str, Any]) -> str:
    import pandas as pd

    from moebook.cite import in_digits

    rows = []
    moved = summary.get("sensitivity", {})
    for name, e in summary["estimates"].items():
        low, middle, high = (in_digits(e[q], e[f"mcse_{q}"]) for q in ("q05", "q50", "q95"))
        half = [in_digits(e[q], e["mcse_q50"]) for q in ("q25", "q75")]
        rows.append(
            {
                "quantity": name, "median": middle, "50 % interval": " to ".join(half),
                "90 % interval": f"{low} to {high}", "narrowed": f"{100 * max(e['contraction'], 0):.0f} %",
                "decided by": "the data" if e["identified"] else "the prior",
            }
            | ({"moved by": _moved_by(moved[name])} if name in moved else {"moved by": ""} if moved else {})
            | ({"what it is": MEANING.get(name, "coefficient of the law")} if summary["law"] in SPELT else {})
        )  # fmt: skip
    if not rows:
        return "<p>None is stored.</p>"
    note = (
        "<p>Digits go no further than the Monte Carlo error. “Narrowed” is 1 − sd(posterior)/sd(prior); "
        "below 50 % a quantity is not identified by these runs, and its interval is mostly the prior's."
        + (" “Moved by”: what moves it when its power is changed a little.</p>" if moved else "</p>")
    )
    return page.table(pd.DataFrame(rows), wrap=("what it is",)) + unbroken(note)


def _moved_by(found: Mapping[str, Any]) -> str:
    """What a quantity is sensitive to."""
    return {"neither matters": "neither", "the data decide": "data", "the prior decides": "prior"}.get(
        found["diagnosis"], "prior and data"
    )


def _priors(posterior: Posterior) -> str:
    names = [str(name) for name in posterior.data.prior.data_vars if name in posterior.data.posterior]
    shown = []
    for name in names:
        prior, draws = posterior.draws(name, "prior"), posterior.draws(name)
        if prior.ndim > 1 or np.ptp(draws) < 1e-6 * np.abs(draws).max():
            continue
        low, high = np.quantile(prior, [0.01, 0.99])
        logs = bool(prior.min() > 0 and high > DECADES * low)
        if logs:  # only where this makes it more even: a share or a uniform quantity stays as it is
            logs = abs(stats.skew(np.log(prior))) < abs(stats.skew(prior))
        figure = diagnosis.prior_and_posterior(name.replace("_", " "), prior, draws, logs)
        shown.append((figure, f"Prior and posterior of {name}."))
    caption = "Grey: before the runs were seen. Blue: after. Heights are scaled to each panel."
    return f'<div class="small">{page.grid(shown, caption)}</div>'


def _identity(summary: Mapping[str, Any], source: str, command: str) -> str:
    import pandas as pd

    parts = summary.get("ingredients", {})
    sampler = ", ".join(f"{name} {value}" for name, value in parts.get("sampler", {}).items())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    facts = {
        "posterior": summary["identity"], "rows": parts.get("data"), "table": source,
        "law": f"{summary['law']}, source {parts.get('law', {}).get('source', '')[:16]}",
        "seed": parts.get("seed"), "sampler": sampler,
        "moebook": __version__, "Python": platform.python_version(), "packages": versions,
        "command": command or None,
    }  # fmt: skip
    rows = [{"what": name, "value": str(value)} for name, value in facts.items() if value is not None]
    note = (
        "<p>The identity is the sha256 of the rows, the law's source, the priors, the sampler's settings, "
        "the seed and the locked versions: the same identity gives the same numbers.</p>"
    )
    return page.table(pd.DataFrame(rows), wrap=("value",)) + note


def _coverage(summary: Mapping[str, Any]) -> dict[str, float]:
    return summary.get("checks", {}).get("posterior_predictive", {}).get("coverage", {})


def _thinned(runs: int) -> str:
    most = diagnosis.MOST_MARKS
    return f" Of {runs:,} runs {most:,} are drawn." if runs > most else ""
