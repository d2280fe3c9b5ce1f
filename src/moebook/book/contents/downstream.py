"""What the book says of scores beside the loss: at equal compute, and at equal loss."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from moebook.book import profiles
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.paths import runs_folder
from moebook.figures import downstream as figures
from moebook.figures import page
from moebook.figures.style import flops_text, percent, sparsity_text

if TYPE_CHECKING:
    from moebook.downstream import CommonScores, Effect, Score

INTERVAL = 0.05, 0.5, 0.95
SHARE = f"{100 * (INTERVAL[2] - INTERVAL[0]):.0f} %"
HELD = {"": "loss", "budget": "loss and budget", "width": "loss and width"}
WHAT = {
    "wikitext2_bits": "bits a byte on the test part of WikiText; whether its articles are among those of the "
    "English text was not checked",
    "other_bits": "bits a byte on the other text of this book: Python for models of English, and English for "
    "models of Python",
    "words_seen": "which of four words ends a clause of a held-out novel, where the right one stands in the "
    "passage already",
    "words_unseen": "the same, where it does not",
    "recall": "which of three values belongs to a key, in a made-up list that stands in the context, "
    "after 0, 1, 4 and 8 worked examples",
    "blimp": "which of two sentences is grammatical",
}
CHANCE = {1 / 2: "½", 1 / 3: "⅓", 1 / 4: "¼", 8.0: "8 bits"}


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
        (score.name, beside): at_equal_loss(
            found.runs, score.name, beside, found.items[score.name], found.units(score.name)
        )
        for score in scores_of(text)
        for beside in BESIDE
    }


def scores_of(text: str) -> list[Score]:
    """The scores that all runs of a text have."""
    from moebook.downstream import SCORES

    return [score for score in SCORES if score.name in scored(text).items]


def span(text: str) -> tuple[float, float]:
    """The largest sparsity that was run at every budget of a text's scored runs, and its doublings of E/K."""
    from moebook.downstream import doublings

    by_budget = profiles.done_runs(scored(text).runs).groupby("budget_flops")["sparsity"]
    largest = max(set.intersection(*(set(sparsities) for _, sparsities in by_budget)))
    return float(largest), float(doublings(largest))


def ahead(effect: Effect, score: Score, text: str) -> tuple[float, float, float]:
    """(low, median, high) of what a model of the largest sparsity is ahead of a dense one at equal loss."""
    factor = span(text)[1] * (1 if score.up else -1)
    low, median, high = (effect.doubling.times(factor).quantile(share) for share in INTERVAL)
    return low, median, high


def sparser_ahead(effect: Effect, score: Score) -> float:
    """The probability that the sparser of two models of one loss has the better score."""
    below = effect.below(0.0)
    return 1 - below if score.up else below


def moves(effect: Effect, score: Score) -> bool:
    """Whether a better loss makes a better score: the whole interval of the gain lies above zero."""
    gain = effect.by_loss.times(1 if score.up else -1)
    return gain.quantile(INTERVAL[0]) > 0


def score_list() -> page.Html:
    """What is scored, with the level of a model that knows nothing and how many items are common."""
    import pandas as pd

    def items(score: Score) -> str:
        counts = {scored(t).items[score.name].shape[1] for t in texts() if score.name in scored(t).items}
        units = {len(np.unique(score.unit_of(n))) for n in counts}
        if units == counts:
            return " or ".join(f"{n:,}" for n in sorted(counts))
        return " or ".join(f"{u:,} × {n // u}" for u, n in zip(sorted(units), sorted(counts), strict=True))

    asked = {score.name: score for text in texts() for score in scores_of(text)}
    rows = [
        {
            "score": s.title,
            "items": items(s),
            "knows nothing": CHANCE[s.chance],
            "what is asked": WHAT[s.name],
        }
        for s in asked.values()
    ]
    return page.table(pd.DataFrame(rows), "What a model is asked at its end", wrap=("what is asked", "score"))


def scores_at_equal_compute(text: str) -> page.Html:
    """Scores at a text's largest budget: of the best dense size and of the best size of the sparsity that has
    the lowest loss; means over seeds. The error has the spread between runs of one loss, and that between
    questions."""
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
    bits = [float(runs["bits_per_byte"][chosen].mean()) for chosen in pick]
    rows = [{"": "loss (bits a byte)", "dense": f"{bits[0]:.3f}", "sparse": f"{bits[1]:.3f}",
             "better by": f"{bits[0] - bits[1]:+.3f}"}]  # fmt: skip
    for score in scores_of(text):
        items, sign = found.items[score.name], 1 if score.up else -1
        first, second = (items[chosen].mean(axis=0) for chosen in pick)
        noise = effects(text)[score.name, ""].noise
        between = noise * math.sqrt(sum(1 / int(chosen.sum()) for chosen in pick))
        gap = sign * (second - first)
        error = math.hypot(between, _error_of_questions(gap, score.unit_of(len(gap))))
        rows.append(
            {"": f"{score.title} ({score.unit})", "dense": f"{first.mean():.3f}",
             "sparse": f"{second.mean():.3f}", "better by": f"{gap.mean():+.3f} ± {error:.3f}"}
        )  # fmt: skip
    dense_runs, sparse_runs = (int(chosen.sum()) for chosen in pick)
    counts = "a run each" if dense_runs == sparse_runs == 1 else f"runs: {dense_runs} and {sparse_runs}"
    frame = pd.DataFrame(rows).rename(columns={"sparse": f"S = {sparsity_text(float(sparse['sparsity']))}"})
    return page.table(
        frame,
        f"{text_title(text)} at {flops_text(budget)} FLOPs: the best dense size, and the best size of the "
        f"sparsity with the lowest loss ({counts})",
        wrap=("",),
    )


def _error_of_questions(gap: np.ndarray, units: np.ndarray) -> float:
    """Standard error of the mean of gap [items], units drawn as one."""
    means = np.bincount(units, gap) / np.bincount(units)
    return float(means.std(ddof=1) / np.sqrt(len(means)))


def score_figures(text: str) -> page.Html:
    """Each score against the loss, a panel a score, with what is expected of dense and of sparse models where
    such models were run."""
    found, panels = scored(text).runs, []
    for score in scores_of(text):
        effect = effects(text)[score.name, ""]
        lines = {}
        for sparsity in (0.0, span(text)[0]):
            loss = found.loc[np.isclose(found["sparsity"], sparsity), "loss_nats"]
            ends = np.clip([loss.min(), loss.max()], *effect.loss_nats)
            grid = np.linspace(*ends, 60)
            lines[sparsity] = (grid, effect.expected(grid, sparsity))
        label = f"{score.title}: {score.unit} of a run, against its loss, by sparsity."
        unit = f"{score.unit} ({'more' if score.up else 'less'} is better)"
        drawn = figures.score_by_loss(
            found, score.name, lines, score.title, unit, score.chance if score.up else None
        )
        panels.append((drawn, label))
    return page.grid(
        panels,
        f"{text_title(text)}: what models of a loss can do. Each point is a run; the lines are what is "
        f"expected of a dense model and of one with S = {sparsity_text(span(text)[0])}, as far as such were "
        "run and dense models reach. Where they lie on each other, the loss tells all.",
    )


def effect_figure(text: str) -> page.Html:
    """What sparsity adds at equal loss, in two panels: shares of right choices, and bits a byte."""
    panels = []
    for up, unit in ((True, "share right"), (False, "bits a byte")):
        chosen = [score for score in scores_of(text) if score.up == up]
        if not chosen:
            continue
        found = {
            name: [ahead(effects(text)[s.name, beside], s, text) for s in chosen]
            for beside, name in HELD.items()
        }
        label = f"Intervals of what a sparse model is ahead of a dense one at equal loss, in {unit}."
        panels.append((figures.at_equal_loss([s.title for s in chosen], found, unit), label))
    return page.grid(
        panels,
        f"{text_title(text)}: how far a model with S = {sparsity_text(span(text)[0])} is ahead of a dense "
        f"one at equal loss; {SHARE} intervals.",
    )


def effect_table(text: str) -> page.Html:
    """The numbers behind it, folded away."""
    import pandas as pd

    rows = []
    for score in scores_of(text):
        for beside, name in HELD.items():
            effect = effects(text)[score.name, beside]
            low, median, high = ahead(effect, score, text)
            rows.append(
                {"score": score.title, "at equal": name, "sparse ahead by": f"{median:+.3f}",
                 f"{SHARE} interval": f"{low:+.3f} to {high:+.3f}",
                 "sparser is ahead": percent(sparser_ahead(effect, score)), "unit": score.unit}
            )  # fmt: skip
    return page.table(pd.DataFrame(rows), fold=f"{text_title(text)}: the numbers", wrap=("score",))
