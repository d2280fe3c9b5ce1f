"""A table that cannot be fitted is refused in one line that names file, row, field and value."""

import json

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes.data import take_rows
from moebook.bayes.reading import read_table
from moebook.cli import main
from moebook.errors import InputError


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    size = 24
    return pd.DataFrame(
        {"params": 10 ** rng.uniform(4, 6, size), "tokens": 10 ** rng.uniform(6, 8, size),
         "sparsity": rng.choice([0.0, 0.5, 0.75], size), "loss_nats": rng.uniform(1.5, 2.5, size)}
    )  # fmt: skip


BAD = {
    "params": (-5.0, 0.0, np.inf),
    "tokens": (-1.0, 0.0, np.nan),
    "loss_nats": (0.0, -2.0, np.nan),
    "sparsity": (1.0, -0.1),
}


@pytest.mark.parametrize(("column", "value"), [(name, x) for name, values in BAD.items() for x in values])
def test_a_bad_number_is_named_with_its_row(runs, column, value):
    runs.loc[6, column] = value
    with pytest.raises(InputError) as error:
        take_rows(runs, laws.get("abnar"), source="mine.csv")
    wrong = "is blank" if np.isnan(value) else f"{value}: must "
    assert str(error.value).startswith(f"mine.csv: row 7: {column}: {wrong}")


def test_a_word_among_numbers_is_named(runs):
    table = runs.astype(object)
    table.loc[2, "tokens"] = "many"
    with pytest.raises(InputError, match="row 3: tokens: 'many' is text: must be a number"):
        take_rows(table, laws.get("abnar"))


def test_too_few_runs(runs):
    with pytest.raises(InputError, match="rows: 10: the law abnar has 10 coefficients"):
        take_rows(runs.head(10), laws.get("abnar"))


def test_one_size_only(runs):
    runs["params"] = 1e6
    with pytest.raises(InputError, match=r"params: 1e\+06: the same in every row"):
        take_rows(runs, laws.get("abnar"))


def test_columns_that_are_not_there(runs):
    there = "params, tokens, sparsity, loss_nats"
    with pytest.raises(InputError, match=f"N: no such column for params; there are {there}"):
        take_rows(runs, laws.get("abnar"), {"params": "N"})
    with pytest.raises(InputError, match="columns: width: the law abnar has no such column"):
        take_rows(runs, laws.get("abnar"), {"width": "params"})


def test_rows_in_any_order_are_the_same_rows(runs):
    law = laws.get("abnar")
    first, second = take_rows(runs, law), take_rows(runs.sample(frac=1, random_state=3), law)
    assert first.sha256() == second.sha256()
    runs.loc[0, "loss_nats"] = np.nextafter(runs.loc[0, "loss_nats"], 9)
    assert take_rows(runs, law).sha256() != first.sha256()


def test_duplicates_are_runs_too(runs):
    twice = pd.concat([runs, runs])
    assert len(take_rows(twice, laws.get("abnar"))) == 2 * len(runs)


def test_file_formats_agree(runs, tmp_path):
    runs.to_csv(tmp_path / "runs.csv", index=False)
    runs.to_json(tmp_path / "runs.jsonl", orient="records", lines=True, double_precision=15)
    law = laws.get("abnar")
    a, b = (take_rows(read_table(tmp_path / name), law) for name in ("runs.csv", "runs.jsonl"))
    assert a.loss_nats == pytest.approx(b.loss_nats, rel=1e-12)


def command(monkeypatch, capsys, *arguments):
    """Exit code and standard error of the command line."""
    monkeypatch.setattr("sys.argv", ["moebook", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, capsys.readouterr().err


CHINCHILLA = ("--law", "chinchilla", "--columns", "params=N,tokens=D,loss=loss")
FILES = {
    "negative.csv": "N,D,loss\n" + "1e6,1e8,3.0\n" * 3 + "-1e6,1e8,3.0\n" + "2e6,3e8,2.5\n" * 4,
    "few.csv": "N,D,loss\n1e6,1e8,3.0\n2e6,3e8,2.5\n",
    "nan.csv": "N,D,loss\n" + "1e6,1e8,3.0\n2e6,3e8,2.5\n" * 4 + "1e6,1e8,\n",
    "names.csv": "size,D,loss\n" + "1e6,1e8,3.0\n2e6,3e8,2.5\n" * 4,
    "empty.csv": "",
    "header.csv": "N,D,loss\n",
    "fine.csv": "N,D,loss\n" + "1e6,1e8,3.0\n2e6,3e8,2.5\n" * 4,
}


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        ("negative.csv", CHINCHILLA, "negative.csv: row 4: N: -1e6: must be positive"),
        ("few.csv", CHINCHILLA, "few.csv: rows: 2: the law chinchilla has 5 coefficients"),
        ("nan.csv", CHINCHILLA, "nan.csv: row 9: loss: is blank"),
        ("names.csv", CHINCHILLA, "names.csv: N: no such column for params; there are size, D, loss"),
        ("empty.csv", CHINCHILLA, "empty.csv: is empty"),
        ("header.csv", CHINCHILLA, "header.csv: holds no rows"),
        ("missing.csv", CHINCHILLA, "missing.csv: no such file"),
        ("fine.csv", ("--law", "kaplan"), "law: kaplan: unknown; there are abnar, chinchilla"),
        ("fine.csv", ("--law", "chinchilla", "--columns", "params"), "--columns: params: must look like"),
        ("fine.csv", ("--law", "chinchilla", "--text", "english"), "fine.csv is no table of records"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(tmp_path, monkeypatch, capsys, file, options, says):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    code, err = command(monkeypatch, capsys, "fit", tmp_path / file, *options, "--out", tmp_path / "fit")
    assert code == 2
    assert says in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "fit").exists()


def test_a_posterior_of_something_else_is_not_overwritten(tmp_path, monkeypatch, capsys):
    (tmp_path / "fine.csv").write_text(FILES["fine.csv"])
    out = tmp_path / "fit"
    out.mkdir()
    stored = {"format": 1, "identity": "ab" * 32, "status": "passed", "law": "chinchilla"}
    stored |= {"units": {}, "gates": []}
    (out / "summary.json").write_text(json.dumps(stored))
    before = (out / "summary.json").read_bytes()
    code, err = command(monkeypatch, capsys, "fit", tmp_path / "fine.csv", *CHINCHILLA, "--out", out)
    assert code == 2 and "holds posterior abababababab, this would be" in err
    assert (out / "summary.json").read_bytes() == before


def test_a_folder_of_something_else_is_not_written_into(tmp_path, monkeypatch, capsys):
    (tmp_path / "fine.csv").write_text(FILES["fine.csv"])
    code, err = command(monkeypatch, capsys, "fit", tmp_path / "fine.csv", *CHINCHILLA, "--out", tmp_path)
    assert code == 2 and "holds other files" in err
