"""What the chapter on scores says follows from the effects that were found."""

from __future__ import annotations

import re

import numpy as np
import pytest

from moebook.book import contents
from moebook.book.contents import downstream, downstream_words
from moebook.downstream import SCORES, Coefficient, Effect
from moebook.figures import downstream as figures

WORDS = next(score for score in SCORES if score.name == "words_seen")
BITS = next(score for score in SCORES if score.name == "other_bits")


def coefficient(mean, scale=1e-3):
    return Coefficient(np.ones(1), np.array([mean]), np.array([scale]), 100)


def effect(doubling, by_loss=0.1, scale=1e-3):
    return Effect(
        "", coefficient(doubling, scale), coefficient(by_loss), 9, 9, (1.0, 2.0), (0.0, 0.96875), 0.01,
        (0.3, 0.0), 1.5, 0.5,
    )  # fmt: skip


@pytest.fixture
def found(monkeypatch):
    """found(score, {beside: effect}): the effects of one score of English, dense to 31/32."""

    def set_to(score, effects):
        for module in (downstream, downstream_words):
            monkeypatch.setattr(module, "scores_of", lambda text: [score])
            monkeypatch.setattr(module, "texts", lambda: ["english"])
            monkeypatch.setattr(module, "span", lambda text: (31 / 32, 5.0))
            monkeypatch.setattr(
                module, "effects", lambda text: {(score.name, b): e for b, e in effects.items()}
            )

    return set_to


def test_who_is_ahead_at_equal_loss_and_whether_it_stays_so(found):
    found(WORDS, {"": effect(-0.002), "budget": effect(-0.002), "width": effect(0.0)})
    said = contents.effects_in_words("english")
    assert "very likely (98 %) the denser of two models is ahead, by 0.010 or so" in said
    assert "very likely so where the budget is held too; undecided where the width is held too" in said
    assert said.startswith("**English text**, from dense to S = 31/32:")


def test_fewer_bits_are_better(found):
    found(BITS, {"": effect(-0.01, -0.5), "budget": effect(0.01, -0.5), "width": effect(-0.01, -0.5)})
    said = contents.effects_in_words("english")
    assert "the sparser of two models is ahead, by 0.050 or so" in said
    assert "very likely the denser is ahead where the budget is held too" in said
    low, median, high = downstream.ahead(effect(-0.01), BITS, "english")
    assert low < median < high and median == pytest.approx(0.05)


def test_a_score_that_does_not_move_with_the_loss_tells_nothing(found):
    found(WORDS, {"": effect(-0.01, by_loss=0.0), "budget": effect(0.0), "width": effect(0.0)})
    assert "does not rise as the loss falls" in contents.effects_in_words("english")
    found(BITS, {"": effect(-0.01, by_loss=0.5), "budget": effect(0.0), "width": effect(0.0)})
    assert "does not rise as the loss falls" in contents.effects_in_words("english")


@pytest.mark.parametrize("alone, budget, width, says", [
    (-0.01, -0.01, -0.01, "**not a function of the loss alone.** Denser models are ahead, by 0.050"),
    (0.01, 0.01, 0.01, "**not a function of the loss alone.** Sparser models are ahead, by 0.050"),
    (-0.01, 0.01, -0.01, "whether that is sparsity depends on what is held"),
    (-0.01, 0.0, -0.01, "whether that is sparsity depends on what is held"),
    (0.0, 0.0, 0.0, "open. Sparse models may be ahead by 0.008 share right or behind by 0.008"),
])  # fmt: skip
def test_only_what_stays_whatever_is_held_is_called_sparsitys_doing(found, alone, budget, width, says):
    found(WORDS, {"": effect(alone), "budget": effect(budget), "width": effect(width)})
    assert says in contents.eighth_claim()


def test_many_comparisons_are_corrected_for(found):
    found(WORDS, {"": effect(-0.01), "budget": effect(0.0), "width": effect(0.0)})
    said = contents.corrected_in_words()
    assert "for the 1 scores" in said and "there remains last word, in the passage (English text)." in said
    found(WORDS, {"": effect(-0.0012), "budget": effect(0.0), "width": effect(0.0)})
    assert "none remains" in contents.corrected_in_words()


def test_the_stored_runs_give_every_table_and_figure():
    numbers = contents.scores_in_numbers()
    assert numbers["scored_runs"].endswith("on Python source code") and numbers["score_interval"] == "90 %"
    for text in contents.texts():
        count = len(downstream.scores_of(text))
        assert str(contents.score_figures(text)).count("<svg") == count
        assert str(contents.effect_figure(text)).count("<svg") == 2
        assert str(contents.effect_table(text)).count("<tr") == 1 + 3 * count
        shown = str(contents.scores_at_equal_compute(text))
        assert shown.count("<tr") == 2 + count
        loss = [float(value) for value in re.findall(r"<td[^>]*>\+?(\d\.\d{3})</td>", shown)[:3]]
        assert loss[0] - loss[1] == pytest.approx(loss[2], abs=0.0011) and loss[2] > 0
        assert "the lead falls with sparsity" in contents.exception_in_words(text)
    assert "67 × 32" in str(contents.score_list()) and "512 × 4" in str(contents.score_list())


def test_a_panels_lines_are_those_of_the_effect():
    """The figure draws what `expected` says, for dense and for the sparsest."""
    from moebook.figures import downstream as figures

    runs = downstream.scored("english").runs
    whole = downstream.effects("english")["words_seen", ""]
    loss = np.linspace(*whole.loss_nats, 7)
    lines = {s: (loss, whole.expected(loss, s)) for s in (0.0, 0.96875)}
    [axes] = figures.score_by_loss(runs, "words_seen", lines, "title", "share right", 0.25).axes
    drawn = [line.get_ydata() for line in axes.lines if line.get_label().startswith("expected")]
    assert np.allclose(drawn[1] - drawn[0], 5 * whole.doubling.mean)
    low, high = sorted(axes.get_xlim())
    assert low < runs["loss_nats"].min() and high > runs["loss_nats"].max()
    assert axes.xaxis_inverted()


def test_what_the_chapter_says_in_plain_words_holds():
    """Sentences of the chapter and of the first page that no function writes."""
    by_name = {score.name: score for score in SCORES}
    effects = {text: downstream.effects(text) for text in ("english", "packages")}
    for name in ("recall", "blimp"):  # "Recall is at chance, and grammar close to it"
        share = downstream.scored("english").runs[name].mean()
        assert abs(share - by_name[name].chance) < 0.02
        assert not downstream.moves(effects["english"][name, ""], by_name[name])
    # "Models of Python are asked about novels, which they cannot finish"
    for name in ("words_seen", "words_unseen"):
        assert not downstream.moves(effects["packages"][name, ""], by_name[name])
    # "its loss on English promises more than it keeps on Python"; the other way round they do not agree
    assert downstream_words.steadiness("english", BITS) == "steady"
    assert downstream.sparser_ahead(effects["english"]["other_bits", ""], BITS) < 0.05
    assert downstream_words.steadiness("packages", BITS) == "depends"


@pytest.mark.parametrize("up", [True, False])
def test_no_label_of_an_effect_figure_is_cut_off(up):
    scores = [score for score in SCORES if score.up == up]
    ends = {name: [(-0.15, -0.1, 0.02)] * len(scores) for name in ("loss", "loss and budget")}
    figure = figures.at_equal_loss([score.title for score in scores], ends, scores[0].unit)
    figure.draw_without_rendering()
    [axes] = figure.axes
    for text in (axes.xaxis.label, *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1, text.get_text()
