"""What the chapter on the law and its priors says and shows: prior draws as losses, and laws side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moebook.book.contents.curves import posterior
from moebook.book.contents.runs import text_title
from moebook.figures import page
from moebook.figures import priors as figures

if TYPE_CHECKING:
    from moebook.bayes import Posterior

POINTS = 60


def misfit_in_numbers() -> dict[str, str]:
    """What the chapter's prose quotes of the misfit's prior and the level's."""
    from moebook.bayes import Priors

    return {"level_percent": f"{100 * Priors().level_spread:.0f} %"}


def misfit_figure(text: str) -> page.Html:
    """Random misfits along the tokens, from the prior, in and beyond the runs of a fit."""
    found = posterior(text)
    basis, column = found.basis, "tokens"
    place = basis.columns.index(column)
    reach = np.linspace(-3.0, 5.0, 161)
    middle = found.law.centre(found.units)
    values = [np.full(len(reach), value) for value in middle]
    values[place] = np.exp(basis.centre[place] + basis.scale[place] * reach)
    percent = 100 * found.weights("prior") @ basis(*values).T
    low, high = np.quantile(percent, [0.05, 0.95], axis=0)
    typical = np.argsort(np.abs(found.draws("discrepancy_scale", "prior") - _middle_scale(found)))[:6]
    runs = (np.log(found.rows[column]) - basis.centre[place]) / basis.scale[place]
    return page.show(
        figures.misfit_growth(reach, percent[typical], low, high, (float(runs.min()), float(runs.max()))),
        "Random curves of misfit that waver around zero and spread with the distance from the runs.",
        "How far the law may be off along the tokens, before any loss is seen: six draws of middling scale.",
    )


def _middle_scale(found: Posterior) -> float:
    return float(np.median(found.draws("discrepancy_scale", "prior")))


def prior_figure(text: str) -> page.Html:
    """Losses along each column of the law, from draws of the priors with their misfit."""
    found = posterior(text)
    middle = dict(zip(found.law.columns, found.law.centre(found.units), strict=True))
    grids, losses = [], []
    for name in found.law.columns:
        runs = found.rows[name]
        if name == "sparsity":
            grid = 1 - 2.0 ** -np.linspace(0, -np.log2(1 - runs.max()), POINTS)
        else:
            grid = np.geomspace(runs.min() / 3, runs.max() * 3, POINTS)
        losses.append(found.surface(**{**middle, name: grid}, group="prior")(slice(None)))
        grids.append(grid)
    observed = [found.rows[name] for name in found.law.columns]
    return page.show(
        figures.prior_curves(found.law.columns, grids, losses, observed, found.rows["loss_nats"]),
        "Losses drawn from the priors along parameters, tokens and sparsity, with the runs as dots.",
        f"{text_title(text)}: losses that the priors allow, the other two quantities at the middle of the "
        "runs. Dots: the runs, at all values of the other two.",
    )


def prior_verdict(text: str) -> str:
    """How much of the data the prior predictive covers, in a sentence; Markdown."""
    check = posterior(text).summary["checks"]["prior_predictive"]
    (low, high), (least, most) = check["loss_90"], check["observed_range"]
    return (
        f"**{text_title(text)}:** before any run, 90 % of the losses that the model makes lie between "
        f"{low:.2f} and {high:.2f} nats per byte; the runs have {least:.2f} to {most:.2f}. Of the runs, "
        f"{100 * check['coverage']['90']:.0f} % lie inside the 90 % interval of their own cell, and "
        f"{100 * check['coverage']['50']:.0f} % inside its 50 % interval: wide, as a prior should be."
    )


def law_table() -> page.Html:
    """The laws that can be fitted: name, source, columns, coefficients."""
    import pandas as pd

    from moebook import laws

    rows = [
        {
            "name": name,
            "law": laws.get(name).title,
            "reads": ", ".join(laws.get(name).columns),
            "coefficients": str(len(laws.get(name).coefficients)),
        }
        for name in laws.names()
    ]
    return page.table(pd.DataFrame(rows), "The laws", wrap=("law", "reads"))
