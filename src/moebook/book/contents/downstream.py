"""What the book says of scores beside the loss: at equal compute, and at equal loss."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from moebook.book import profiles
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.paths import runs_folder
from moebook.book.say import likelihood, listed, rounded
from moebook.errors import InputError
from moebook.figures import downstream as figures
from moebook.figures import page
from moebook.figures.style import flops_text, percent, sparsity_text

if TYPE_CHECKING:
    from moebook.downstream import CommonScores, Effect, Score

INTERVAL = 0.05, 0.5, 0.95
SHARE = f"{100 * (INTERVAL[2] - INTERVAL[0]):.0f} %"
HELD = {"": "loss", "budget": "loss and budget", "width": "loss and width"}


@cache
def scored(text: str) -> CommonScores:
    """The runs of the study on a text, scored on the items that all of them have."""
    from moebook.downstream import common_scores
    from moebook.runs import Store

    table = run_table()
    return common_scores(Store(runs_folder()), table[(table["purpose"] == "") & (table["text"] == text)])


@cache
def effects(text: str) -> dict[tuple[str, str], Effect]:
    """{(score, what is held beside the loss): effect of sparsity} of the scores that a text's runs have."""
    from moebook.downstream import BESIDE, at_equal_loss

    found = scored(text)
    return {
        (score.name, beside): at_equal_loss(found.runs, score.name, beside, found.items[score.name])
        for score in _scores(text)
        for beside in BESIDE
    }


def _scores(text: str) -> list[Score]:
    from moebook.downstream import SCORES

    return [score for score in SCORES if score.name in scored(text).items]


def _span(text: str) -> tuple[float, float]:
    """The largest sparsity of a text's scored runs, and its doublings of E/K."""
    from moebook.downstream import doublings

    largest = float(scored(text).runs["sparsity"].max())
    return largest, float(doublings(largest))


def ahead(effect: Effect, score: Score, text: str) -> tuple[float, float, float]:
    """(low, median, high) of what the sparsest model is ahead of the dense one at equal loss."""
    factor = _span(text)[1] * (1 if score.up else -1)
    low, median, high = (effect.doubling.times(factor).quantile(share) for share in INTERVAL)
    return low, median, high


def sparser_ahead(effect: Effect, score: Score) -> float:
    """The probability that the sparser of two models of one loss has the better score."""
    below = effect.below(0.0)
    return 1 - below if score.up else below


def moves(effect: Effect, score: Score) -> bool:
    """Whether a better loss makes a better score, as far as the interval tells."""
    gain = effect.by_loss.times(1 if score.up else -1)
    return gain.quantile(INTERVAL[0]) > 0


def score_list() -> page.Html:
    """What is scored, with the level of a model that knows nothing and how many items are common."""
    import pandas as pd

    from moebook.downstream import SCORES

    what = {
        "wikitext2_bits": "bits a byte on encyclopaedia text that no model was trained on",
        "other_bits": "bits a byte on the other text of this book: Python for models of English, and English "
        "for models of Python",
        "words_seen": "which of four words ends a clause of a held-out novel, where the right one stands in "
        "the passage already",
        "words_unseen": "the same, where it does not",
        "recall": "which of three values belongs to a key, in a made-up list that stands in the context",
        "blimp": "which of two sentences is grammatical",
    }
    chance = {1 / 2: "½", 1 / 3: "⅓", 1 / 4: "¼", 8.0: "8 bits"}
    counts = {s.name: {scored(t).items[s.name].shape[1] for t in texts() if s.name in scored(t).items}
              for s in SCORES}  # fmt: skip
    rows = [
        {"score": s.title, "what is asked": what[s.name], "knows nothing": chance[s.chance],
         "items": " or ".join(f"{n:,}" for n in sorted(counts[s.name]))}
        for s in SCORES if counts[s.name]
    ]  # fmt: skip
    return page.table(pd.DataFrame(rows), "What a model is asked at its end", wrap=("what is asked", "score"))


def scores_in_numbers() -> dict[str, str]:
    """Names for the prose: how many runs are scored, and how many intervals are looked at."""
    from moebook.downstream import BESIDE

    compared = sum(len(_scores(text)) for text in texts())
    return {
        "scored_runs": str(sum(len(scored(text).runs) for text in texts())),
        "score_comparisons": str(len(BESIDE) * compared),
        "score_interval": SHARE,
        "score_missed": f"{compared * (1 - INTERVAL[2] + INTERVAL[0]):.0f}",
    }


def scores_at_equal_compute(text: str) -> page.Html:
    """Scores at a text's largest budget: of the best dense size and of the best size of the sparsity that has
    the lowest loss; means over seeds, with a standard error of their difference from the pairs of items."""
    import pandas as pd

    found = scored(text)
    runs = profiles.done_runs(found.runs)
    budget = float(runs["budget_flops"].max())
    best = profiles.best_sizes(profiles.cells(runs[runs["budget_flops"] == budget]))
    dense = best[best["sparsity"] == 0].iloc[0]
    sparse = best.loc[best["loss_nats"].idxmin()]
    pick = [
        ((runs["budget_flops"] == budget) & (runs["sparsity"] == cell["sparsity"])
         & (runs["width"] == cell["width"])).to_numpy()
        for cell in (dense, sparse)
    ]  # fmt: skip
    rows = [{"": "loss (nats per byte)", "dense": f"{dense['loss_nats']:.3f}",
             "sparse": f"{sparse['loss_nats']:.3f}",
             "better by": f"{dense['loss_nats'] - sparse['loss_nats']:.3f}"}]  # fmt: skip
    for score in _scores(text):
        items = found.items[score.name]
        first, second = (items[chosen].mean(axis=0) for chosen in pick)
        gap = (second - first) * (1 if score.up else -1)
        error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
        rows.append(
            {"": f"{score.title} ({score.unit})", "dense": f"{first.mean():.3f}",
             "sparse": f"{second.mean():.3f}", "better by": f"{gap.mean():+.3f} ± {error:.3f}"}
        )  # fmt: skip
    frame = pd.DataFrame(rows).rename(columns={"sparse": f"S = {sparsity_text(float(sparse['sparsity']))}"})
    return page.table(
        frame,
        f"{text_title(text)} at {flops_text(budget)} FLOPs: the best dense size, and the best size of the "
        "sparsity with the lowest loss",
        wrap=("",),
    )


def score_figures(text: str) -> page.Html:
    """Each score against the loss, a panel a score, with what is expected of dense and of the sparsest."""
    found, panels = scored(text), []
    for score in _scores(text):
        effect = effects(text)[score.name, ""]
        loss = np.linspace(*effect.loss_nats, 60)
        ends = (0.0, _span(text)[0])
        lines = {s: (loss, effect.expected(loss, s)) for s in ends if s in set(found.runs["sparsity"])}
        label = f"{score.title}: {score.unit} of a run, against its loss, by sparsity."
        drawn = figures.score_by_loss(
            found.runs, score.name, lines, score.title, score.unit, score.chance if score.up else None
        )
        panels.append((drawn, label))
    return page.grid(
        panels,
        f"{text_title(text)}: what models of a loss can do. Each point is a run; the lines are what is "
        f"expected of a dense model and of one with S = {sparsity_text(_span(text)[0])}. Where they lie on "
        "each other, the loss tells all.",
    )


def effect_figure(text: str) -> page.Html:
    """What sparsity adds at equal loss, in two panels: shares of right choices, and bits a byte."""
    panels = []
    for up, unit in ((True, "share right"), (False, "bits a byte")):
        listed_scores = [score for score in _scores(text) if score.up == up]
        if not listed_scores:
            continue
        found = {
            name: [ahead(effects(text)[s.name, beside], s, text) for s in listed_scores]
            for beside, name in HELD.items()
        }
        label = f"Intervals of what the sparsest model is ahead of the dense one at equal loss, in {unit}."
        panels.append((figures.at_equal_loss([s.title for s in listed_scores], found, unit), label))
    return page.grid(
        panels,
        f"{text_title(text)}: how far a model with S = {sparsity_text(_span(text)[0])} is ahead of a dense "
        f"one at equal loss; {SHARE} intervals.",
    )


def effects_in_words(text: str) -> str:
    """A line a score: who is ahead at equal loss, how probable that is, and whether it holds where the budget
    or the width is held too; Markdown."""
    lines = []
    for score in _scores(text):
        found = {beside: effects(text)[score.name, beside] for beside in HELD}
        if moves(found[""], score):
            low, median, high = ahead(found[""], score, text)
            by = rounded(abs(median), (high - low) / (2 * stats.norm.ppf(INTERVAL[2])))
            said = _who({beside: sparser_ahead(effect, score) for beside, effect in found.items()}, by)
        else:
            said = (
                "does not rise as the loss falls: these models cannot do it, and it tells nothing of sparsity"
            )
        lines.append(f"- *{score.title}*: {said}.")
    largest = sparsity_text(_span(text)[0])
    return f"**{text_title(text)}**, from dense to S = {largest}:\n\n" + "\n".join(lines)


def _who(sparser: dict[str, float], by: str) -> str:
    """Who is ahead, from the probability that the sparser model is, for each thing held beside the loss."""

    def verdict(share: float) -> str:
        return "denser" if share < 0.5 else "sparser"

    first = sparser[""]
    lead = max(first, 1 - first)
    if likelihood(lead) == "undecided":
        said = "a difference that these runs do not resolve"
    else:
        said = (
            f"{likelihood(lead)} ({percent(lead)}) the {verdict(first)} of two models is ahead, by {by} or so"
        )
    others = {}
    for beside in ("budget", "width"):
        share = max(sparser[beside], 1 - sparser[beside])
        same = verdict(sparser[beside]) == verdict(first) and likelihood(lead) != "undecided"
        told = likelihood(share)
        if told != "undecided" and not same:
            told = f"{told} the {verdict(sparser[beside])} is ahead"
        elif told != "undecided":
            told = f"{told} so"
        others.setdefault(told, []).append(f"the {beside}")
    parts = [f"{told} where {' or '.join(names)} is held too" for told, names in others.items()]
    return "; ".join([said, *parts])


def effect_table(text: str) -> page.Html:
    """The numbers behind it, folded away."""
    import pandas as pd

    rows = []
    for score in _scores(text):
        for beside, name in HELD.items():
            effect = effects(text)[score.name, beside]
            low, median, high = ahead(effect, score, text)
            rows.append(
                {"score": score.title, "at equal": name, "sparsest ahead by": f"{median:+.3f}",
                 f"{SHARE} interval": f"{low:+.3f} to {high:+.3f}",
                 "sparser is ahead": percent(sparser_ahead(effect, score)), "unit": score.unit}
            )  # fmt: skip
    return page.table(pd.DataFrame(rows), fold=f"{text_title(text)}: the numbers", wrap=("score",))


def eighth_claim() -> str:
    """What the runs say of the paper's claim, in one paragraph; Markdown."""
    counted = {"sparser": [], "denser": [], "silent": []}
    asked = 0
    for text in texts():
        for score in _scores(text):
            effect = effects(text)[score.name, ""]
            if not moves(effect, score):
                counted["silent"].append(score.title)
                continue
            asked += 1
            share = sparser_ahead(effect, score)
            if max(share, 1 - share) >= INTERVAL[2]:
                counted["sparser" if share > 0.5 else "denser"].append(f"{score.title} ({text_title(text)})")
    if not asked:
        raise InputError("runs: scores: none rises as the loss falls: nothing to say")
    found = [*counted["sparser"], *counted["denser"]]
    if not found:
        return f"Of {asked} scores that rise as the loss falls, none depends on sparsity as far as runs tell."
    parts = [
        f"{listed(names)}, where {who} models are ahead"
        for who in ("denser", "sparser")
        if (names := counted[who])
    ]
    return (
        f"Of {asked} scores that rise as the loss falls, {asked - len(found)} are a function of the loss "
        f"alone as far as these runs tell. The others are {listed(parts)}."
    )
