"""Any table of runs is read: formats, names, units, what is derived, what is left out."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from moebook import bayes, laws
from moebook.bayes.columns import choose_law
from moebook.bayes.data import take_rows
from moebook.bayes.doubts import doubts
from moebook.bayes.quantities import take_points, without_blanks
from moebook.bayes.reading import finished, read_table
from moebook.bayes.request import request
from moebook.errors import InputError

CHINCHILLA, ABNAR = laws.get("chinchilla"), laws.get("abnar")


def write_all(table: pd.DataFrame, folder) -> dict[str, object]:
    """The same rows in every format that is read."""
    text = table.to_csv(index=False)
    listed = table.to_dict("records")
    lines = "\n".join(map(json.dumps, listed))
    contents = {
        "runs.csv": text, "semicolons.csv": text.replace(",", ";"), "runs.tsv": text.replace(",", "\t"),
        "runs.jsonl": lines, "runs.ndjson": lines, "runs.json": json.dumps(listed),
        "marked.csv": "\ufeff" + text, "windows.csv": text.replace("\n", "\r\n"),
        "gaps.csv": "\n" + text + "\n,,\n",
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(content, newline="")
    (folder / "runs.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "runs.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    table.to_parquet(folder / "runs.parquet")
    return {name: folder / name for name in (*contents, "runs.csv.gz", "runs.jsonl.gz", "runs.parquet")}


def test_every_format_gives_the_same_rows_to_the_last_bit(runs, tmp_path):
    expected = take_rows(runs, CHINCHILLA).sha256()
    for name, path in write_all(runs, tmp_path).items():
        assert take_rows(read_table(path), CHINCHILLA).sha256() == expected, name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "params,tokens,loss\n1,2\n", "row 1: has 2 cells; the header has 3"),
        ("a.csv", "params,tokens,loss\n1,2,3\n\n1,2,3,4\n", "row 2: has 4 cells; the header has 3"),
        ("a.csv", "loss,loss\n1,2\n", "loss: two columns have this name"),
        ("a.csv", "loss\n", "holds no rows"),
        ("a.csv", "\n \n", "is empty"),
        ("a.csv.gz", "no gzip", "cannot be read as a table"),
        ("a.jsonl", '{"loss": 1}\n{"loss": \n', "row 2: is no JSON"),
        ("a.jsonl", "[1, 2]\n", "row 1: [1, 2]: is no run: must be a JSON object"),
        ("a.parquet", "no parquet", "cannot be read as a table"),
        ("a.xlsx", "", "spreadsheets are not read; save the sheet as .csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused(name, content, says, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        read_table(tmp_path / name)
    assert says in str(error.value) and "\n" not in str(error.value) and name in str(error.value)


def weights_and_biases(runs):
    """Runs as their export in JSON: nested, three of them unfinished."""
    states = ["finished"] * (len(runs) - 3) + ["crashed", "running", "crashed"]
    return [
        {
            "name": f"quiet-river-{i}", "state": state,
            "config": {
                "model": {"n_params": row.params}, "train_tokens": {"value": row.tokens, "desc": None},
            },
            "summary": {"eval/loss": row.loss if state == "finished" else None, "_step": 100},
        }
        for i, (row, state) in enumerate(zip(runs.itertuples(), states, strict=True))
    ]  # fmt: skip


def test_an_export_of_weights_and_biases_is_read_and_its_unfinished_runs_counted(runs, tmp_path):
    listed = weights_and_biases(runs)
    (tmp_path / "api.json").write_text(json.dumps(listed))
    flat = [
        {
            "Name": run["name"], "State": run["state"], "Tags": "",
            "n_params": run["config"]["model"]["n_params"],
            "train_tokens": run["config"]["train_tokens"]["value"],
            "eval/loss": run["summary"]["eval/loss"],
        }
        for run in listed
    ]  # fmt: skip
    pd.DataFrame(flat).to_csv(tmp_path / "page.csv", index=False, quoting=1)
    spelled = [{**run, "config": str(run["config"]), "summary": str(run["summary"])} for run in listed]
    pd.DataFrame(spelled).to_csv(tmp_path / "snippet.csv")
    whole = take_rows(runs.iloc[:-3], CHINCHILLA).sha256()
    for name in ("api.json", "page.csv", "snippet.csv"):
        table, excluded = finished(read_table(tmp_path / name))
        assert excluded == {"crashed": 2, "running": 1}, name
        assert take_rows(table, CHINCHILLA).sha256() == whole, name


def test_rows_are_numbered_as_in_the_file_after_others_were_left_out(runs, tmp_path):
    runs["State"] = ["crashed"] * 4 + ["finished"] * (len(runs) - 4)
    runs.loc[9, "tokens"] = -1
    runs.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError, match="row 10: tokens: -1.0: must be positive"):
        bayes.request(tmp_path / "runs.csv", "chinchilla")


def test_a_column_of_other_states_excludes_nothing(runs):
    runs["state"] = "Ohio"
    assert finished(runs)[1] == {} and len(finished(runs)[0]) == len(runs)
    runs["state"] = "crashed"
    with pytest.raises(InputError, match="status: no run is finished"):
        bayes.request(runs, "chinchilla")


@pytest.mark.parametrize(("cell", "spelt"), [("on hold", "'on hold'"), ("", "''"), (None, "''")])
def test_a_run_of_which_the_status_says_nothing_is_refused(cell, spelt, runs, tmp_path):
    """Else the whole column would count for nothing, and crashed runs be fitted."""
    runs["state"] = ["crashed"] * 2 + ["finished"] * (len(runs) - 2)
    runs.loc[5, "state"] = cell
    runs.to_csv(tmp_path / "runs.csv", index=False)
    for table, source in ((runs, "table"), (tmp_path / "runs.csv", f"{tmp_path / 'runs.csv'}")):
        with pytest.raises(InputError) as caught:
            bayes.request(table, "chinchilla")
        assert str(caught.value).startswith(f"{source}: row 6: state: {spelt}: does not say whether")


@pytest.mark.parametrize(
    "names",
    [
        ("N", "D", "loss"), ("n_params", "train_tokens", "val_loss"),
        ("Num Params", "tokens seen", "eval/loss"), ("parameters", "Training Tokens", "final_loss"),
        ("config.N", "config.D", "summary.validation_loss"),
        ("total_parameter_count", "num_tokens", "L"),
    ],
)  # fmt: skip
def test_common_names_are_recognised(names, runs):
    renamed = runs.set_axis(names, axis=1).assign(step=1, learning_rate=3e-4, d_model=64)
    assert take_rows(renamed, CHINCHILLA).sha256() == take_rows(runs, CHINCHILLA).sha256()


def test_a_unit_in_a_name_is_read_where_it_is_unambiguous(runs):
    renamed = pd.DataFrame(
        {"params_M": runs.params / 1e6, "tokens (B)": runs.tokens / 1e9, "val_bpb": runs.loss / np.log(2)}
    )
    rows = take_rows(renamed, CHINCHILLA)
    assert sorted(rows.columns["params"]) == pytest.approx(sorted(runs.params))
    assert sorted(rows.columns["tokens"]) == pytest.approx(sorted(runs.tokens))
    assert sorted(rows.loss_nats) == pytest.approx(sorted(runs.loss))
    assert [found.scale for found in rows.points.found] == pytest.approx([1e6, 1e9, np.log(2)])
    assert "params <- params_M x 1e+06: 1e+07 to 1e+09, 5 values" in rows.points.found[0].text()
    with pytest.raises(InputError, match=r"tokens_B: 1.6\d*e\+13: the name says units of 1e\+09"):
        take_rows(runs.rename(columns={"tokens": "tokens_B"}), CHINCHILLA)


def test_a_quantity_with_two_columns_or_a_column_with_two_quantities_is_refused(runs):
    two = runs.rename(columns={"loss": "val_loss"}).assign(test_loss=runs.loss + 0.1)
    with pytest.raises(InputError, match="loss: could be val_loss or test_loss; say which with --columns"):
        take_rows(two, CHINCHILLA)
    assert take_rows(two, CHINCHILLA, {"loss": "test_loss"}).loss_nats.min() > runs.loss.min() + 0.09
    assert len(take_rows(two.assign(test_loss=two.val_loss), CHINCHILLA)) == len(runs)
    with pytest.raises(InputError, match="params: one column cannot be two quantities, params and tokens"):
        take_rows(runs, CHINCHILLA, {"params": "params", "tokens": "params"})


def test_a_loss_on_held_out_text_comes_before_one_on_training_text(runs):
    both = runs.rename(columns={"loss": "eval_loss"}).assign(train_loss=runs.loss - 0.1)
    assert take_rows(both, CHINCHILLA).points.column_of("loss_nats") == "eval_loss"
    only = take_rows(both.drop(columns="eval_loss"), CHINCHILLA)
    assert "training loss" in {doubt.name for doubt in doubts(only, CHINCHILLA)}


def test_tokens_come_from_compute_by_the_stated_convention(runs):
    table = runs.assign(C=6 * runs.params * runs.tokens).drop(columns="tokens")
    points = take_points(table, CHINCHILLA)
    assert points.columns["tokens"] == pytest.approx(runs.tokens) and points.flops_per_token == "6N"
    assert points.derived == ("D = C / (6 N), C from C, N from params",)
    half = take_points(table.assign(N_a=runs.params / 2), CHINCHILLA)
    assert half.columns["tokens"] == pytest.approx(2 * runs.tokens) and half.flops_per_token == "6NA"
    whole = take_points(table.assign(N_a=runs.params / 2), CHINCHILLA, flops_per_token="6N")
    assert whole.columns["tokens"] == pytest.approx(runs.tokens)
    own = take_points(table.assign(cost=3 * runs.params), CHINCHILLA, flops_per_token="cost")
    assert own.columns["tokens"] == pytest.approx(2 * runs.tokens) and own.flops_per_token == "cost"
    with pytest.raises(InputError, match="--flops-per-token: 6NA: no column for params_active"):
        take_points(table, CHINCHILLA, flops_per_token="6NA")
    with pytest.raises(InputError, match="price: no such column for flops_per_token"):
        take_points(table, CHINCHILLA, flops_per_token="price")


def test_compute_comes_from_tokens_for_budgets(runs):
    assert take_points(runs, CHINCHILLA).compute_flops == pytest.approx(6 * runs.params * runs.tokens)
    given = take_points(runs.assign(flops=1e20), CHINCHILLA)
    assert set(given.compute_flops) == {1e20} and given.derived == ()


def test_tokens_of_sparse_runs_are_not_made_from_all_parameters(runs):
    table = runs.assign(C=1e20, S=0.75).drop(columns="tokens")
    with pytest.raises(InputError, match="N counts experts that a token does not use"):
        take_points(table, ABNAR)
    assert take_points(table, ABNAR, flops_per_token="6N").columns["tokens"] == pytest.approx(
        1e20 / 6 / runs.params
    )
    assert take_points(runs.assign(S=0.75), ABNAR).compute_flops is None


def test_sparsity_comes_from_experts(runs):
    experts = np.resize([1, 8, 64], len(runs))
    points = take_points(runs.assign(E=experts, K=np.minimum(experts, 2)), ABNAR)
    assert set(points.columns["sparsity"]) == {0, 0.75, 1 - 2 / 64}
    with pytest.raises(InputError, match="row 1: K: 2: more than there are experts, E = 1"):
        take_points(runs.assign(E=experts, K=2), ABNAR)
    with pytest.raises(InputError, match="row 1: E: 0: must be at least 1"):
        take_points(runs.assign(E=[0] + [8] * (len(runs) - 1), K=2), ABNAR)


def test_what_a_law_does_not_need_may_be_blank(runs):
    blank = runs.assign(E=None, C="", seed=None)
    assert len(take_rows(blank, CHINCHILLA)) == len(runs)
    assert without_blanks(blank, CHINCHILLA, {}, "table")[1] == 0


def test_rows_with_a_blank_are_left_out_where_asked(runs):
    table = runs.astype(object)
    table.loc[2, "loss"], table.loc[5, "params"], table.loc[7, "tokens"] = None, "", float("nan")
    kept, left_out = without_blanks(table, CHINCHILLA, {}, "table")
    assert left_out == 3 and kept.index.tolist() == [n for n in range(len(runs)) if n not in (2, 5, 7)]
    compute = table.drop(columns="tokens").assign(C=1e20).astype(object)
    compute.loc[9, "C"] = ""
    assert without_blanks(compute, CHINCHILLA, {}, "table")[1] == 3, "D comes from C"
    with pytest.raises(InputError, match="table: every row has a blank among params, tokens, loss"):
        without_blanks(runs.assign(tokens=""), CHINCHILLA, {}, "table")


def test_a_column_that_the_user_named_is_nothing_else(runs):
    table = runs.assign(active_params=runs.params / 2)
    rows = take_rows(table, CHINCHILLA, {"params": "active_params"})
    assert rows.columns["params"].max() == runs.params.max() / 2 and "params_active" not in rows.points.extras


def test_more_active_than_all_parameters_is_refused(runs):
    table = runs.assign(active_params=runs.params / 2)
    table.loc[3, "active_params"] = 2 * table.loc[3, "params"]
    with pytest.raises(InputError, match="row 4: active_params: .*: more than all parameters, params = "):
        take_rows(table, CHINCHILLA)


@pytest.mark.parametrize("name", ["PF-days", "pf_days", "PF_days", "petaflop-days"])
def test_days_of_a_petaflop_are_flops(name, runs):
    table = runs.assign(**{name: 6 * runs.params * runs.tokens / 8.64e19}).drop(columns="tokens")
    tokens = take_rows(table, CHINCHILLA).columns["tokens"]
    np.testing.assert_allclose(np.sort(tokens), np.sort(runs.tokens), rtol=1e-12)


def test_a_perplexity_is_no_loss(runs):
    table = runs.rename(columns={"loss": "ppl"})
    with pytest.raises(InputError, match=r"ppl: a perplexity is no loss; its logarithm is"):
        take_rows(table, CHINCHILLA, {"loss": "ppl"})


def test_the_law_follows_from_the_table(runs):
    assert choose_law(runs, {}, "table") == ("chinchilla", "no column says how sparse the runs are")
    assert choose_law(runs.assign(S=0.5), {}, "table")[0] == "chinchilla"
    assert choose_law(runs.assign(S=runs.tokens / 1e6), {}, "table")[1].startswith(
        "the column S is no sparsity"
    )
    assert len(take_rows(runs.assign(S=runs.tokens / 1e6), CHINCHILLA)) == len(runs)
    assert choose_law(runs.assign(S=np.resize([0, 0.5], len(runs))), {}, "table") == (
        "abnar",
        "sparsity varies (S)",
    )
    assert choose_law(runs.assign(E=np.resize([1, 2], len(runs)), K=1), {}, "table")[0] == "abnar"
    with pytest.raises(InputError, match="sparsity: no column for it; .* use --law chinchilla"):
        take_rows(runs, ABNAR)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("", "is blank"), ("1.3B", "'1.3B' is text: must be a number; a unit belongs in the column's name"),
        ("1,000", "'1,000' is text: must be a number without marks between thousands"),
        ("22.820.000", "'22.820.000' is text: must be a number without marks between thousands"),
        ("7304000,5", "'7304000,5' is text: must be a number with a decimal point, not a comma"),
        ("nan", "nan: must be a finite number"), ("inf", "inf: must be a finite number"),
        ("0", "0: must be positive"), ("-3e6", "-3e6: must be positive"), ("1_000", "'1_000' is text"),
    ],
)  # fmt: skip
def test_a_bad_cell_of_a_text_file_is_said_as_it_stands(cell, says, runs, tmp_path):
    table = runs.astype(str)
    table.loc[4, "params"] = cell
    table.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError) as error:
        take_rows(read_table(tmp_path / "runs.csv"), CHINCHILLA, source="runs.csv")
    assert str(error.value).startswith(f"runs.csv: row 5: params: {says}")


def test_a_summary_says_how_the_table_was_read(runs):
    asked = bayes.request(pd.concat([runs, runs.iloc[:1]]), "chinchilla")
    reading = json.loads(json.dumps(asked.reading(), allow_nan=False))
    assert [column["field"] for column in reading["columns"]] == ["params", "tokens", "loss_nats"]
    assert reading["columns"][0] | {"column": "params", "low": 1e7, "distinct": 5} == reading["columns"][0]
    assert [warning["name"] for warning in reading["warnings"]] == ["duplicated rows"]
    assert reading["flops_per_token"] == "6N" and reading["derived"][0].startswith("C = 6 N")


def test_tables_of_others_are_read_as_they_are(shared):
    rows = take_rows(read_table(shared / "data" / "chinchilla" / "runs.csv"), CHINCHILLA)
    assert len(rows) == 234 and rows.points.column_of("params") == "N"
    porian = read_table(shared / "data" / "porian2024" / "runs.csv")
    variant = porian[
        (porian.dataset == "rw") & (porian.hparams == "tuned") & (porian.param_count == "standard")
        & (porian.val == "val") & (porian.decay == "const") & (porian.warmup == "short")
    ]  # fmt: skip
    rows = take_rows(variant, CHINCHILLA)
    assert rows.points.flops_per_token == "6N" and rows.points.derived[0].startswith("D = C / (6 N")


def test_a_table_of_one_loss_is_refused(made):
    with pytest.raises(InputError, match="made: loss: 2.5: every run has the same loss"):
        request(made.made_runs().assign(loss=2.5), "chinchilla", source="made")


def test_a_list_in_a_cell_is_no_number(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"N": [1, 2], "D": [1, 2], "loss": [1, 2]}\n' * 8)
    with pytest.raises(InputError, match=r"row 1: \w+: '\[1, 2\]': must be a number"):
        bayes.request(path, "chinchilla")


def test_a_damaged_archive_is_refused(runs, tmp_path):
    whole = gzip.compress(runs.to_csv(index=False).encode())
    (tmp_path / "runs.csv.gz").write_bytes(whole[:60] + b"aaaa" + whole[64:])
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_table(tmp_path / "runs.csv.gz")


def test_json_nested_beyond_reading_is_refused(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    for name, text in (("runs.json", deep), ("runs.jsonl", deep)):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="is no JSON"):
            read_table(tmp_path / name)
