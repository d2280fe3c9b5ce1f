"""The paper's claims as probabilities: table, figure, notes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from moebook.book.contents.curves import fitted_budgets, posterior
from moebook.book.contents.runs import text_title
from moebook.book.say import likelihood
from moebook.figures import optimum as figures
from moebook.figures import page
from moebook.figures.live import doublings
from moebook.figures.style import count_text, flops_text, percent, sparsity_text

if TYPE_CHECKING:
    from moebook.optimum import Claim


@cache
def claim_probabilities(text: str) -> list[Claim]:
    """The paper's claims, judged over the budgets that were run."""
    from moebook.optimum import claims

    return claims(posterior(text), fitted_budgets(text))


def claim_table(by_text: Mapping[str, list[Claim]]) -> page.Html:
    """Each claim with its probability for every text, in numbers and words."""
    import pandas as pd

    first = next(iter(by_text.values()))
    frame = pd.DataFrame({"": [c.name for c in first], "claim": [c.statement for c in first]})
    for text, found in by_text.items():
        frame[text_title(text)] = [f"{percent(c.probability)}: {likelihood(c.probability)}" for c in found]
    return page.table(frame, "The paper's claims for our models", wrap=tuple(frame.columns))


def claim_figure(text: str) -> page.Html:
    """The probabilities of one text's claims."""
    found = {c.name: c.probability for c in claim_probabilities(text)}
    return page.show(
        figures.claims(found),
        "Posterior probability of each of the paper's claims.",
        f"{text_title(text)}: the posterior probability of each claim.",
    )


def claim_notes(text: str) -> str:
    """What must be known to read the probabilities: how many comparisons end at the edge of the runs."""
    found = claim_probabilities(text)
    edge = max(found, key=lambda claim: claim.edge)
    sixth = next(claim for claim in found if claim.name == "H6")
    seventh = next(claim.probability for claim in found if claim.name == "H7")
    return (
        f"- **{text_title(text)}:** it is {likelihood(sixth.probability)} ({percent(sixth.probability)}) "
        "that the best sparsity of a model of the middle size falls as compute grows (H6; other sizes are in "
        "the folded table). Where a claim compares optima, some may lie at the end of the range of the "
        f"runs, so that the true one may lie beyond: {percent(edge.edge)} of them in {edge.name}, over all "
        "sizes and budgets; in no claim is it more, at single sizes it may be."
        + (" Where H7 fails, our widths end too soon; it says nothing of larger ones." * (seventh < 0.5))
    )


def _plain(part: str) -> str:
    """A part's name with sparsities as fractions and budgets and sizes as everywhere in the book."""
    part = re.sub(r"\bS = (0\.\d+)", lambda m: f"S = {sparsity_text(_whole_doublings(float(m[1])))}", part)
    part = re.sub(r"\bC = ([\d.]+e\+?\d+)", lambda m: f"C = {flops_text(float(m[1]))} FLOPs", part)
    return re.sub(r"\bN = ([\d.]+e\+?\d+)", lambda m: f"N = {count_text(float(m[1]))}", part)


def _whole_doublings(sparsity: float) -> float:
    """The sparsity of whole doublings of E/K that was rounded to this, or the value itself."""
    whole = 1 - 2.0 ** -round(float(doublings(sparsity)))
    return whole if abs(whole - sparsity) < 1e-3 else sparsity


def claim_parts(text: str) -> page.Html:
    """The parts of every claim, each with its probability, folded away."""
    import pandas as pd

    rows = [
        {"claim": claim.name, "part": _plain(part), "probability": percent(share)}
        for claim in claim_probabilities(text)
        for part, share in claim.detail.items()
    ]
    return page.table(pd.DataFrame(rows), fold=f"{text_title(text)}: the parts of each claim")
