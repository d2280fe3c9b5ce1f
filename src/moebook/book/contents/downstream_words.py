"""What the book concludes from scores beside the loss; sentences change with the effects that they state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from moebook.book import profiles
from moebook.book.contents.downstream import (
    HELD,
    INTERVAL,
    SHARE,
    ahead,
    effects,
    moves,
    scored,
    scores_of,
    span,
    sparser_ahead,
)
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.say import likelihood, likelihood_rule, listed, rounded
from moebook.figures.style import percent, sparsity_text

if TYPE_CHECKING:
    from moebook.downstream import Effect, Score

HOLM = 0.1


def scores_in_numbers() -> dict[str, str]:
    """What the prose quotes: how many runs are scored, and how many intervals miss zero."""
    every = [effect for text in texts() for effect in effects(text).values()]
    missed = sum(max(effect.below(0.0), 1 - effect.below(0.0)) > INTERVAL[2] for effect in every)
    coverage = [
        f"{len(scored(text).runs)} of {len(profiles.done_runs(run_table(), text))} on {text_title(text)}"
        for text in texts()
    ]
    return {
        "scored_runs": listed(coverage),
        "score_interval": SHARE,
        "score_intervals": str(len(every)),
        "score_luck": f"{len(every) * (1 - INTERVAL[2] + INTERVAL[0]):.0f}",
        "score_missed": str(missed),
        "likelihood_rule": likelihood_rule(),
    }


def effects_in_words(text: str) -> str:
    """A line a score: who is ahead at equal loss, how probable that is, and whether it holds where the budget
    or the width is held too; Markdown."""
    lines = []
    for score in scores_of(text):
        found = {beside: effects(text)[score.name, beside] for beside in HELD}
        if moves(found[""], score):
            said = _who(found, score, text)
        else:
            said = (
                "does not rise as the loss falls: these models cannot do it, and it tells nothing of sparsity"
            )
        lines.append(f"- *{score.title}*: {said}.")
    largest = sparsity_text(span(text)[0])
    return f"**{text_title(text)}**, from dense to S = {largest}:\n\n" + "\n".join(lines)


def _who(found: dict[str, Effect], score: Score, text: str) -> str:
    """Who is ahead at equal loss, and then where the budget or the width is held too."""
    low, median, high = ahead(found[""], score, text)
    by = rounded(abs(median), (high - low) / (2 * stats.norm.ppf(INTERVAL[2])))
    sparser = {beside: sparser_ahead(effect, score) for beside, effect in found.items()}
    first, lead = _verdict(sparser[""]), max(sparser[""], 1 - sparser[""])
    told = likelihood(lead)
    if told == "undecided":
        ends = f"{low:+.3f} and {high:+.3f}".replace("-", "−")
        said = f"not resolved at equal loss (between {ends} for the sparse model)"
    else:
        said = f"{told} ({percent(lead)}) the {first} of two models is ahead, by {by} or so"
    others: dict[str, list[str]] = {}
    for beside in ("budget", "width"):
        share = max(sparser[beside], 1 - sparser[beside])
        word = likelihood(share)
        if word != "undecided":
            same = told != "undecided" and _verdict(sparser[beside]) == first
            word += " so" if same else f" the {_verdict(sparser[beside])} is ahead"
        others.setdefault(word, []).append(f"the {beside}")
    return "; ".join([said, *(f"{w} where {' or '.join(names)} is held too" for w, names in others.items())])


def _verdict(sparser: float) -> str:
    return "denser" if sparser < 0.5 else "sparser"


def steadiness(text: str, score: Score) -> str:
    """`steady` where all three intervals lie on one side of zero, `depends` where one does and not all on the
    same side, else `open`."""
    shares = np.array([sparser_ahead(effects(text)[score.name, b], score) for b in HELD])
    if (shares > INTERVAL[2]).all() or (shares < INTERVAL[0]).all():
        return "steady"
    return "depends" if ((shares > INTERVAL[2]) | (shares < INTERVAL[0])).any() else "open"


def eighth_claim() -> str:
    """What the runs say of the paper's claim, for the text that the book speaks of first, since its questions
    are in its models' own language; Markdown."""
    text = texts()[0]
    rising = [s for s in scores_of(text) if moves(effects(text)[s.name, ""], s)]
    classes = {
        name: [s for s in rising if steadiness(text, s) == name] for name in ("steady", "depends", "open")
    }
    lines = []
    for score in classes["steady"]:
        _, median, _ = ahead(effects(text)[score.name, ""], score, text)
        who = _verdict(sparser_ahead(effects(text)[score.name, ""], score))
        lines.append(
            f"- *{score.title}*: **not a function of the loss alone.** {who.capitalize()} models are ahead, "
            f"by {abs(median):.3f} {score.unit} between dense and S = {sparsity_text(span(text)[0])}, and so "
            "they are where the budget or the width is held."
        )
    for score in classes["depends"]:
        lines.append(
            f"- *{score.title}*: something beside the loss matters, but whether that is sparsity depends on "
            "what is held."
        )
    for score in classes["open"]:
        low, _, high = ahead(effects(text)[score.name, ""], score, text)
        lines.append(
            f"- *{score.title}*: open. Sparse models may be ahead by {high:.3f} {score.unit} or behind by "
            f"{-low:.3f}."
        )
    silent = [s.title for s in scores_of(text) if s not in rising]
    if silent:
        lines.append(f"- *{listed(silent)}*: these models cannot do it, so that it says nothing.")
    return f"For models of {text_title(text)}, one by one:\n\n" + "\n".join(lines)


def exception_in_words(text: str) -> str:
    """The paper's exception where small models have it: what sparsity does to the lead of words that stand in
    the passage over words that do not; Markdown."""
    from moebook.downstream import BESIDE, at_equal_loss

    found = scored(text)
    if not {"words_seen", "words_unseen"} <= set(found.items):
        return ""
    items = found.items["words_seen"] - found.items["words_unseen"]
    runs = found.runs.assign(lead=items.mean(axis=1))
    parts = []
    for beside in BESIDE:
        effect = at_equal_loss(runs, "lead", beside, items)
        low, median, high = (effect.doubling.times(span(text)[1]).quantile(share) for share in INTERVAL)
        where = f"where the {beside} is held too" if beside else "at equal loss"
        parts.append(
            f"by {median:+.3f} {where} ({SHARE} interval {low:+.3f} to {high:+.3f}; the lead falls with "
            f"sparsity with a probability of {percent(effect.below(0.0))})"
        )
    return f"- **{text_title(text)}:** {listed(parts)}."


def corrected_in_words() -> str:
    """Which effects at equal loss remain if all that were looked for are corrected for (Holm 1979)."""
    tails = {}
    for text in texts():
        for score in scores_of(text):
            effect = effects(text)[score.name, ""]
            if moves(effect, score):
                below = effect.below(0.0)
                tails[f"{score.title} ({text_title(text)})"] = 2 * min(below, 1 - below)
    kept = []
    for i, (name, tail) in enumerate(sorted(tails.items(), key=lambda pair: pair[1])):
        if tail > HOLM / (len(tails) - i):
            break
        kept.append(name)
    remain = (
        f"there remain {listed(kept)}"
        if len(kept) > 1
        else f"there remains {kept[0]}"
        if kept
        else "none remains"
    )
    return (
        f"Corrected for the {len(tails)} scores that were compared at equal loss, at {100 * HOLM:g} % for "
        f"all together, {remain}."
    )
