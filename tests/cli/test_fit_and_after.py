"""`fit`, `forecast` and `compare` as a shell sees them."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = ROOT / "runs" / "posteriors" / "english"


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("made", ROOT / "tests" / "bayes" / "made.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def fitted(made, tmp_path_factory):
    """(the finished command, its folder) of a short fit of a table with everything to say about it."""
    folder = tmp_path_factory.mktemp("fit")
    table = made.made_runs().rename(columns={"params": "n_params", "tokens": "D", "loss": "val/loss"})
    table["State"] = ["finished"] * (len(table) - 2) + ["crashed", "running"]
    table.loc[table.index[-2:], "val/loss"] = None
    pd.concat([table, table.iloc[:1]]).to_csv(folder / "wandb.csv", index=False)
    words = ["fit", "wandb.csv", "--out", "mine", "--draws", "60", "--tune", "60", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "moebook", *words], cwd=folder, capture_output=True, text=True
    )
    return done, folder


@pytest.mark.slow
def test_fit_says_what_it_read_before_the_work(fitted):
    done, _ = fitted
    assert done.returncode == 1, done.stderr  # sixty draws pass no gate, nor do four times as many
    said = done.stderr.splitlines()
    assert said[0] == "wandb.csv: 27 runs, 1 crashed left out, 1 running left out"
    assert said[1].startswith("  params <- n_params: 1e+07 to 2e+09, 7 values")
    assert said[2].startswith("  tokens <- D: ") and said[3].startswith("  loss <- val/loss: ")
    assert said[4].startswith("  C = 6 N D, N from n_params (for budgets")
    assert said[5] == "law: chinchilla (no column says how sparse the runs are)"
    assert said[6].startswith("warning: 1 row is a copy of another (row 29 for one)")
    sampled = ["sampling", "gates"]
    words = [line.split()[0] for line in said[7:]]
    assert words == ["prior", "compiling", *sampled, "a", *sampled, "report"]
    assert said[11] == "a gate failed: once more, with more draws" and said[12].endswith("of 120 + 240")


@pytest.mark.slow
def test_fit_stores_what_it_read(fitted):
    done, folder = fitted
    summary = json.loads((folder / "mine" / "summary.json").read_text())
    assert len(summary.pop("draws_sha256")) == 64
    assert json.loads(done.stdout) == summary
    assert summary["excluded"] == {"crashed": 1, "running": 1}
    assert [column["column"] for column in summary["columns"]] == ["n_params", "D", "val/loss"]
    assert [warning["name"] for warning in summary["warnings"]] == ["duplicated rows"]
    assert summary["flops_per_token"] == "6N"
    page = (folder / "mine" / "report.html").read_text()
    assert "moebook fit wandb.csv --out mine" in page and "is a copy of another" in page
    assert summary["identity"] in page and str(folder) not in page


@pytest.mark.slow
def test_a_failed_fit_answers_nothing(fitted, moebook):
    for words in (("forecast", fitted[1] / "mine", "--at", "params=1e8,tokens=1e10"),
                  ("compare", fitted[1] / "mine", ENGLISH)):  # fmt: skip
        code, out, err = moebook(*words)
        assert code == 1 and out == "" and "status 'failed'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("N,D,loss\n1e6,1e8,3\n", (), "runs.csv: rows: 1: the law chinchilla has 5 coefficients"),
        ("N,D,loss\n" + "1e6,1e8,3\n" * 9, (), "runs.csv: N: 1e+06: the same in every row"),
        ("N,D,loss\n1e6,,3\n", (), "runs.csv: row 1: D: is blank"),
        ("N,D,loss\n1e6,1e8,3\n", ("--law", "abnar"), "sparsity: no column for it"),
        ("N,D,loss\n1e6,1e8,3\n", ("--columns", "params=N,tokens=N"), "N: one column cannot be two"),
        ("N,C,loss\n1e6,1e8,3\n", ("--flops-per-token", "6NA"), "6NA: no column for params_active"),
        ("N;D;loss\n1e6;1e8;3,1\n", (), "row 1: loss: '3,1' is text: must be a number"),
        ("Name,State,N,D,loss\na,running,1,1,\n", (), "status: no run is finished"),
    ],
)  # fmt: skip
def test_fit_refuses_what_cannot_be_fitted(content, options, says, moebook, tmp_path):
    (tmp_path / "runs.csv").write_text(content)
    code, _, err = moebook("fit", "runs.csv", *options, "--out", "out")
    assert code == 2 and says in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_forecast_writes_what_it_prints(suffix, moebook, tmp_path):
    (tmp_path / "plans.csv").write_text("N,D,S\n1e5,1e7,.9\n1e7,1e7,.5\n")
    out = tmp_path / f"rows.{suffix}"
    one = "params=1e5,tokens=1e7,sparsity=.9"
    code, text, _ = moebook("forecast", ENGLISH, "--at", "plans.csv", "--at", one, "--out", out)
    assert code == 0 and "curve, 90 %" in text and "row 2 lies outside the fitted runs: params" in text
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda p: pd.read_json(p, lines=True)}
    rows = read[suffix](out)
    assert rows["row"].tolist() == [1, 2, 3] and rows["extrapolates"].tolist() == [False, True, False]
    assert rows["curve_median_nats"][0] == pytest.approx(rows["curve_median_nats"][2])
    assert (rows["run_low_nats"] < rows["curve_low_nats"])[0]
    code, text, _ = moebook("forecast", ENGLISH, "--at", "plans.csv", "--json", "--interval", ".5")
    answer = json.loads(text)
    assert answer["posterior"] == json.loads((ENGLISH / "summary.json").read_text())["identity"]
    assert answer["rows"][0]["interval"] == 0.5
    assert answer["rows"][0]["curve_median_nats"] == pytest.approx(rows["curve_median_nats"][0])
    assert answer["rows"][0]["curve_low_nats"] > rows["curve_low_nats"][0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--at", "params=1e5,tokens=1e7,sparsity=1"), "row 1: sparsity: 1: must lie in [0, 1)"),
        (("--at", "params=1e5,tokens=many,sparsity=.5"), "row 1: tokens: 'many' is text"),
        (("--at", "params=1e5,tokens=1e7"), "sparsity: no column for it"),
        (("--at", "params=1e5,tokens"), "--at: tokens: must look like params=1e9"),
        (("--at", "nowhere.csv"), "--at: nowhere.csv: no such file"),
        (
            ("--at", "N=1,D=1,S=0", "--out", "rows.xlsx"),
            "--out: rows.xlsx: must end in .csv, .parquet, .jsonl",
        ),
        (("--at", "N=1,D=1,S=0", "--interval", "2"), "--interval: 2: must lie between 0 and 0.99"),
        ((), "forecast: Missing option '--at'"),
    ],
)
def test_forecast_refuses_bad_questions(words, says, moebook, tmp_path):
    code, out, err = moebook("forecast", ENGLISH, *words)
    assert code == 2 and says in err and err.count("\n") == 1 and out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def two(made, tmp_path_factory):
    """Folders of a right and of a wrong posterior of the same runs."""
    folder = tmp_path_factory.mktemp("two")
    runs = made.made_runs()
    made.made_posterior(runs, spread=0.002).save(folder / "right")
    made.made_posterior(runs, E=1.9, spread=0.002, seed=1).save(folder / "wrong")
    made.made_posterior(made.made_runs(seed=1)).save(folder / "other")
    return folder


def test_compare_ranks_and_weighs(two, moebook):
    code, out, _ = moebook("compare", two / "wrong", two / "right")
    assert code == 0 and out.index("right") < out.index("wrong") and "weight" in out
    assert "left out by budget" in out and "1e+18" in out
    code, out, _ = moebook("compare", two / "wrong", two / "right", "--json")
    answer = json.loads(out)
    assert [model["posterior"] for model in answer["models"]] == ["right", "wrong"]
    assert answer["rows"] == 28 and sum(model["weight"] for model in answer["models"]) == pytest.approx(1)
    best = answer["models"][0]
    assert best["difference"] == 0 and best["weight"] > 0.95
    assert [fold["runs"] for fold in best["without_a_budget"]] == [7, 7, 7, 7]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("right", "other"), "were fitted to different rows (28 and 28); only right has row"),
        (("right", "right"), "given twice"), (("right", "other/../right"), "given twice"),
        (("right",), "needs at least two posteriors"),
        (("right", "nowhere"), "nowhere/posterior.nc: no such file"), ((), "compare: Missing argument"),
    ],
)  # fmt: skip
def test_compare_refuses_what_cannot_be_compared(names, says, two, moebook):
    code, out, err = moebook("compare", *(two / name for name in names))
    assert code == 2 and says in err and err.count("\n") == 1 and out == ""


def test_a_check_says_what_would_be_read_and_fits_nothing(made, moebook, tmp_path):
    table = made.made_runs().astype(object)
    table.loc[table.index[3], "loss"] = None
    table.loc[table.index[5], "loss"] = 11.0
    table.to_csv("runs.csv", index=False)
    code, out, err = moebook("fit", "runs.csv", "--check")
    assert code == 2 and "row 4: loss: is blank" in err
    code, out, err = moebook("fit", "runs.csv", "--check", "--skip-blank")
    assert code == 0 and out == "" and "1 with a blank left out" in err.splitlines()[0]
    assert "warning: row 6 has a loss of 11 nats where the others say about" in err
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]
