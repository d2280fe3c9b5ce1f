"""What the data card says of the runs is so in the records.

`python tests/runs/test_datacard.py` writes the card's table of counts anew.
"""

import re
from fractions import Fraction
from pathlib import Path

import pytest

from moebook.runs import Store, load_table

RUNS = Path(__file__).parents[2] / "runs"
CARD = RUNS / "DATACARD.md"
HEAD = "| text | purpose | runs | of these done | with scores |\n|---|---|---|---|---|\n"
NOW = "python tests/runs/test_datacard.py writes the table as it is; the list of defects is written by hand"


def counts() -> str:
    """The rows of the card's table, by the records."""
    rows: dict[tuple[str, str], list[int]] = {}
    for record in Store(RUNS).load():
        row = rows.setdefault((record.text, record.purpose), [0, 0, 0])
        for column, adds in enumerate((True, record.done, bool(record.scores))):
            row[column] += adds
    return "".join(
        f"| `{text}` | {f'`{purpose}`' if purpose else 'the table'} | {' | '.join(map(str, row))} |\n"
        for (text, purpose), row in sorted(rows.items())
    )


def said(pattern: str) -> str:
    """What a sentence of the card says where the pattern has its group; lines are joined."""
    found = re.findall(pattern, " ".join(CARD.read_text().split()))
    assert len(found) == 1, f"the card says no such thing, or says it twice: {pattern}"
    return found[0]


@pytest.fixture(scope="module")
def done():
    """The runs that ended well, with their budget to two digits and whether they were scored."""
    table = load_table(RUNS)
    scored = {record.key for record in Store(RUNS).load() if record.scores}
    table = table.assign(
        budget=[float(f"{c:.1e}") for c in table["compute_flops"]], scored=table["key"].isin(scored)
    )
    return table[table["status"] == "done"]


@pytest.fixture(scope="module")
def study(done):
    """Those that laws are fitted to."""
    return done[done["purpose"] == ""]


def test_the_counts_are_those_of_the_records():
    now = counts()
    assert HEAD + now + "\n" in CARD.read_text(), f"{NOW}. The rows now:\n{now}"


def test_tuning_reached_as_far_as_is_said(done):
    tuned = done[(done["purpose"] == "tuning") & (done["text"] == "english")]
    most = said(r"rule for the rate was fitted to runs of at most (\S+) FLOPs")
    assert tuned["budget"].max() == float(most)
    top = Fraction(said(r"tuned at anchor cells \(`purpose` is `tuning`\), up to a sparsity of (\d+/\d+)"))
    assert tuned["sparsity"].max() == float(top)


def test_the_python_text_has_the_rates_of_the_first_recipe(done, study):
    rates = ["sparsity", "learning_rate", "batch_tokens"]
    first = done[done["purpose"] == "first-recipe"]
    said(r"(Python text has the rate of an earlier recipe), the one that English runs of")
    tuned = done[(done["purpose"] == "tuning") & (done["text"] == "packages")]
    most = said(r"six anchors up to (\S+) FLOPs")
    top = said(r"up to \S+ FLOPs and (\d+/\d+), and the runs were not")
    assert tuned["budget"].max() == float(most) and tuned["sparsity"].max() == float(Fraction(top))
    assert len(tuned.groupby(["budget", "width", "sparsity"])) == 6
    both = study[study["text"] == "packages"].merge(first[["sparsity"]].drop_duplicates(), on="sparsity")
    own, other = (set(part[rates].itertuples(index=False, name=None)) for part in (both, first))
    assert own <= other
    english = study[study["text"] == "english"]
    assert not other & set(english[rates].itertuples(index=False, name=None))


def test_the_batch_changes_with_the_budget_on_english_text(done):
    said(r"(four sequences up to 3e12 FLOPs, eight at 1e13 and in the held-out runs)")
    runs = done[(done["text"] == "english") & done["purpose"].isin(["", "held-out"])]
    batches = {budget: set(part) for budget, part in (runs["batch_tokens"] // 128).groupby(runs["budget"])}
    assert batches == {c: {4} if c <= 3e12 else {8} for c in batches} and {3e12, 1e13, 3e13} <= set(batches)
    assert set(done.loc[done["text"] == "packages", "batch_tokens"]) == {4 * 128}, "and on Python text not"


def test_which_runs_have_no_scores(done):
    said(r"(those of the study `quick`, those of the purpose `first-recipe`, and some of `cpu-packages`)")
    old = (done["study"] == "quick") | (done["purpose"] == "first-recipe")
    assert not done[old]["scored"].any()
    rest = done[~old]
    assert set(rest[~rest["scored"]]["study"]) == {"cpu-packages"}
    assert rest[rest["study"] == "cpu-packages"]["scored"].any()


def test_the_sparsest_models_are_few(study):
    said(r"(beyond 31/32 were run with fewer sizes than the others, 127/128 on English text alone)")
    said(r"127/128 on English text alone, and on (neither text both at every budget)")
    sizes = study.groupby(["text", "budget", "sparsity"])["width"].nunique().reset_index()
    for (text, _), part in sizes.groupby(["text", "budget"]):
        beyond = part["sparsity"] > 31 / 32
        assert part[beyond]["width"].max() < part[~beyond]["width"].min() or not beyond.any(), text
    beyond = study[study["sparsity"] > 31 / 32].groupby("text")
    both = beyond[["budget", "sparsity"]].apply(lambda part: len(part.drop_duplicates()))
    assert (both < 2 * study.groupby("text")["budget"].nunique()).all(), both
    assert set(study[study["sparsity"] > 63 / 64]["text"]) == {"english"}


def test_which_models_have_several_seeds(study):
    said(r"(Most models of the table were trained once)")
    cell = ["text", "budget", "sparsity", "width"]
    seeds = study.groupby(cell)["seed"].nunique().rename("seeds").reset_index()
    assert (seeds["seeds"] == 1).mean() > 0.5
    rule = r"From (\S+) FLOPs on, every budget and sparsity up to 31/32 has a model with three seeds"
    least = float(said(rule))
    tried = seeds[seeds["sparsity"] <= 31 / 32]
    most = tried.groupby(["text", "budget", "sparsity"])["seeds"].max().reset_index()
    assert (most[most["budget"] >= least]["seeds"] == 3).all()
    said(r"(at the two smaller budgets, on Python text alone, some have two)")
    smaller = most[most["budget"] < least]
    assert set(smaller["text"]) == {"packages"} and smaller["budget"].nunique() == 2
    assert (smaller.groupby("budget")["seeds"].max() == 2).all()
    said(r"(Beyond 31/32 all have one)")
    assert (seeds[seeds["sparsity"] > 31 / 32]["seeds"] == 1).all()


if __name__ == "__main__":
    CARD.write_text(re.sub(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: HEAD + counts(), CARD.read_text()))
