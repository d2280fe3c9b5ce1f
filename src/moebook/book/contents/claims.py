"""The paper's claims as probabilities: table, figure, notes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from moebook.book.contents.answers import fitted_budgets, posterior
from moebook.book.contents.runs import text_title
from moebook.book.say import likelihood
from moebook.figures import optimum as figures
from moebook.figures import page
from moebook.figures.style import percent

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
    return page.table(frame, "The paper's claims for our models", wrap=("claim",))


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
    share = percent(sixth.probability)
    return (
        "All are judged inside the range of the runs. Where a best size or sparsity is the end of that "
        "range, a comparison is censored; that is so in up to "
        f"{percent(edge.edge)} of the cells ({edge.name}). H6 is the claim on which the paper's own text "
        "disagrees with itself: for our models, that the best sparsity at a fixed size falls as compute "
        f"grows is {likelihood(sixth.probability)} ({share} for the middle size; the others are below)."
    )


def claim_parts(text: str) -> page.Html:
    """The parts of every claim, each with its probability, folded away."""
    import pandas as pd

    rows = [
        {"claim": claim.name, "part": part, "probability": percent(share)}
        for claim in claim_probabilities(text)
        for part, share in claim.detail.items()
    ]
    return page.table(pd.DataFrame(rows), fold=f"{text_title(text)}: the parts of each claim")
