"""What the book says of tuning follows from the tuning runs of the table, and from these alone."""

import numpy as np
import pytest

from moebook.book import contents, profiles
from moebook.book.contents import runs as run_contents
from moebook.book.contents import tuning
from moebook.book.paths import project_root
from moebook.runs import Record, Store, load_table
from moebook.study import read_study

CURVATURE = 0.03


def tuned(rate, sparsity, seed, batch, record, shift=0.0):
    """A record as another, trained at a rate, with the loss of a parabola around a planted rule."""
    x = np.log2(rate / (8e-3 * (1 - sparsity) ** 0.25))
    recipe = {"learning_rate": rate, "batch_sequences": batch}
    measures = dict(record.measures) | {"loss_nats": 2.0 + CURVATURE * x**2 + shift + 0.001 * (-1) ** seed}
    config = dict(record.config) | {"recipe": recipe, "seed": 100 + seed}
    return Record(config, 1, "done", measures, study="tune-made", purpose="tuning", cost=record.cost)


@pytest.fixture
def runs_of_tuning(tmp_path, make_records, monkeypatch):
    root = tmp_path / "runs"
    made = [record for record in make_records(root) if record.done and record.seed == 0]
    store = Store(root)
    for record in made:
        if record.model["width"] == 24 and 9e10 < record.measures["compute_flops"] < 4e11:
            for rate in (2e-3, 4e-3, 8e-3, 16e-3):
                for batch, shift in ((4, 0.0), (8, 0.02)):
                    for seed in (0, 1):
                        store.add(tuned(rate, record.measures["sparsity"], seed, batch, record, shift))
    monkeypatch.setenv("MOEBOOK_RUNS", str(root))
    for cached in (tuning.found_anchors, tuning.rate_rule):
        cached.cache_clear()
    yield root
    for cached in (tuning.found_anchors, tuning.rate_rule):
        cached.cache_clear()


def test_the_rule_in_words_is_the_planted_one(runs_of_tuning):
    assert contents.tuning_studies() == ["tune-made"]
    words = contents.rule_in_words("tune-made")
    assert "1 − S to the power 0.250" in words.replace("0.25 ", "0.250 ")
    assert f"costs {CURVATURE:.3f} nats" in words and "runs at 12 anchors" in words
    assert str(contents.batch_table("tune-made")).count("+0.020") == 2 * 3


def test_a_wrong_rate_moves_the_stated_gain(runs_of_tuning):
    """By how much follows from the planted parabolas and from the rates of the study's file."""
    shown = str(contents.wrong_rate_table("tune-made", "cpu-english"))
    assert "× 0.5" in shown and "15/16" in shown
    assert shown.count("<tr") == 1 + 2 * 2 * 2  # a head; budgets, batches, sparsities
    study = read_study(project_root() / "studies" / "cpu-english.yml")

    recipes = {block.recipe.batch_sequences: block.recipe for block in study.grid}

    def above(sparsity, factor, batch):
        rate = factor * study.recipe_at(recipes[batch], sparsity).learning_rate
        return CURVATURE * np.log2(rate / (8e-3 * (1 - sparsity) ** 0.25)) ** 2

    for sparsity in (0.75, 0.9375):
        for factor in (0.5, 1.0, 2.0):
            for batch in (4, 8):
                gain = round(above(0.0, factor, batch) - above(sparsity, factor, batch), 3) + 0.0
                assert shown.count(f">{gain:.3f}<") >= 2, (sparsity, factor, batch)
    words = contents.wrong_rate_in_words("tune-made", "cpu-english")
    moved = max(
        abs(above(0.0, f, b) - above(s, f, b) - above(0.0, 1.0, b) + above(s, 1.0, b))
        for f in (0.5, 2.0) for s in (0.75, 0.9375) for b in (4, 8)
    )  # fmt: skip
    assert f"by {moved:.3f} nats at most" in words and "of 4 cells" in words


def test_figures_have_a_panel_for_each_budget_and_batch(runs_of_tuning):
    assert str(contents.tuning_figures("tune-made")).count("<svg") == 2 * 2


def test_tuning_runs_move_nothing_else_in_the_chapter(runs_of_tuning, make_records, tmp_path, monkeypatch):
    plain = tmp_path / "plain"
    make_records(plain)
    tables = load_table(runs_of_tuning), load_table(plain)
    assert len(tables[0]) > len(tables[1])
    cells = [profiles.cells(profiles.done_runs(table)) for table in tables]
    assert cells[0].equals(cells[1])
    monkeypatch.setattr(run_contents, "texts", lambda: ["packages"])
    shown = []
    for root in (runs_of_tuning, plain):
        monkeypatch.setenv("MOEBOOK_RUNS", str(root))
        numbers = contents.study_in_numbers()
        shown.append({name: value for name, value in numbers.items() if name != "runs_of_tuning"})
    assert shown[0] == shown[1]


def test_where_the_rate_was_not_tuned_is_said(runs_of_tuning, monkeypatch):
    monkeypatch.setattr(tuning, "texts", lambda: ["packages"])
    table = load_table(runs_of_tuning)
    assert contents.tuning_limits(table) == ""
    low = table[(table["purpose"] == "") | (table["sparsity"] < 0.9)]
    said = contents.tuning_limits(low)
    assert "no rate was tuned above S = 3/4: from there to S = 15/16 the rule is extrapolated" in said
    said = contents.tuning_limits(table[table["purpose"] == ""])
    assert said == "On Python source code the rate was not tuned."


def test_the_rates_of_a_study_stand_beside_the_rule_run_by_run(runs_of_tuning, monkeypatch):
    """The made-up runs all have one rate; the planted rule falls by a factor of two from dense to 15/16."""
    monkeypatch.setattr(tuning, "read_study", lambda path: read_study(path.with_name("cpu-english.yml")))
    words = contents.rates_in_words("tune-made", "made-up")
    assert "these are 0.50 to 1.00 times the rule's, 0.71 times in the median. " in words
