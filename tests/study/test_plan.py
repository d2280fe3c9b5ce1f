"""A plan's cells and totals are the architecture's own counts, and what makes no run is refused."""

import json
from pathlib import Path

import pytest

from moebook.architecture import counts
from moebook.errors import InputError
from moebook.runs import Record, row, run_key
from moebook.study import (
    Rates,
    cell_seconds,
    cells_of,
    makespan_seconds,
    missing,
    open_study,
    plan,
    read_study,
)
from moebook.study import select as select_cells
from moebook.train import NUMERICS, Recipe, RunConfig, TextIdentity, run_measures

TEXT = TextIdentity("tiny", "ab" * 32)
STUDIES = Path(__file__).parents[2] / "studies"


def test_a_study_sets_the_options_of_model_and_recipe(write_study, tiny):
    changed = tiny.replace("layers: 1", "layers: 1, active: 1, shared_experts: 1").replace(
        "warmup_tokens: 512", "warmup_tokens: 512, bias_rate: 1e-3, query_key_scale: 0.3"
    )
    configs = [cell.config for _, cell in cells_of(plan(read_study(write_study(changed)), TEXT))]
    assert {c.recipe for c in configs} == {Recipe(warmup_tokens=512, bias_rate=1e-3, query_key_scale=0.3)}
    assert {(c.model.sparsity, c.model.experts, c.model.shared_experts) for c in configs} == {
        (0, 1, 0), (0.75, 4, 1)
    }  # fmt: skip
    before = [cell.key for _, cell in cells_of(plan(read_study(write_study()), TEXT))]
    assert not {c.key for c in configs} & set(before)


def test_a_plan_groups_cells_into_trunks_and_counts_as_the_architecture_does(write_study):
    study = read_study(write_study())
    trunks = plan(study, TEXT)
    assert [(t.model.width, t.model.sparsity, t.seed, len(t.cells)) for t in trunks] == [
        (8, 0.0, 0, 2), (8, 0.75, 0, 2), (16, 0.0, 0, 1), (16, 0.0, 1, 1),
    ]  # fmt: skip
    for trunk, cell in cells_of(trunks):
        flops_per_token = counts(study.family.config(trunk.model.width, trunk.model.sparsity)).flops_per_token
        batch = 4 * 32
        assert cell.tokens == cell.steps * batch
        assert abs(cell.compute_flops - cell.budget_flops) <= flops_per_token * batch / 2
        assert cell.compute_flops == cell.tokens * flops_per_token
        config = RunConfig(trunk.model, trunk.recipe, TEXT, cell.tokens, trunk.seed)
        assert cell.key == config.key == run_key(config.to_dict(), NUMERICS)
    shorter, longest = trunks[0].cells
    decay = shorter.steps - Recipe().decay_start(shorter.steps)
    expected = (longest.steps + decay) * batch * counts(trunks[0].model).flops_per_token
    assert trunks[0].flops == expected
    assert len({trunk.name for trunk in trunks}) == 4


def test_a_warm_up_that_outlasts_the_shortest_run_s_stable_stretch_is_refused(write_study, tiny):
    """The trainer would go over from warm-up to decay, and never train at the rate that is stated."""
    for trunk in plan(read_study(write_study(tiny)), TEXT):
        shortest = trunk.cells[0]
        assert trunk.recipe.decay_start(shortest.steps) * shortest.config.batch_tokens >= 512
    steps = plan(read_study(write_study(tiny)), TEXT)[0].cells[0].steps
    most = Recipe().decay_start(steps) * 4 * 32
    one = tiny.replace("[1e8, 3e8]", "[1e8]").replace("[0, 3/4]", "[0]", 1)
    plan(read_study(write_study(one.replace("warmup_tokens: 512", f"warmup_tokens: {most}"))), TEXT)
    path = write_study(one.replace("warmup_tokens: 512", f"warmup_tokens: {most + 1}"))
    with pytest.raises(InputError) as caught:
        plan(read_study(path), TEXT)
    message = str(caught.value)
    assert message.startswith(f"{path}: grid[0]: width 8, sparsity 0: recipe: warmup_tokens: {most + 1}: ")
    assert f"the decay begins after {most} tokens" in message


def test_a_run_in_two_blocks_is_one_run(write_study, tiny):
    trunks = plan(read_study(write_study(tiny + "  - {budgets: [1e8, 2e8], widths: [8]}\n")), TEXT)
    assert [len(trunk.cells) for trunk in trunks] == [3, 3, 1, 1]


def test_a_budget_of_half_a_step_is_one_and_one_below_is_refused(write_study, tiny):
    study = read_study(write_study(tiny.replace("512", "0")))
    step = 4 * 32 * counts(study.family.config(8, 0.0)).flops_per_token
    for share, steps in ((0.51, 1), (1.49, 1), (1.51, 2)):
        block = f"  - {{budgets: {share * step:.6e}, widths: [8], sparsities: 0}}\n"
        trunks = plan(read_study(write_study(tiny.replace("512", "0") + block)), TEXT)
        assert trunks[0].cells[0].steps == steps
    path = write_study(tiny + "  - {budgets: [1e8, 1e3], widths: [8]}\n")
    with pytest.raises(InputError) as caught:
        plan(read_study(path), TEXT)
    message = str(caught.value)
    assert message.startswith(f"{path}: grid[2]: width 8, sparsity 0: budgets: 1000: ")
    assert f"{1e3 / step:.2g} of one step" in message


def test_two_budgets_of_one_number_of_steps_are_refused_by_file_and_block(write_study, tiny):
    path = write_study(tiny + "  - {budgets: [3.001e8], widths: [8]}\n")
    with pytest.raises(InputError) as caught:
        plan(read_study(path), TEXT)
    message = str(caught.value)
    assert message.startswith(f"{path}: grid[2]: width 8, sparsity 0: budgets: 3.001e+08: makes ")
    assert message.endswith(" steps of training, as 3e+08 does")


def test_a_trunk_has_one_name_whatever_is_still_missing_of_it(write_study):
    trunks = plan(read_study(write_study()), TEXT)
    done = {trunks[0].cells[0].key: "done", trunks[1].cells[0].key: "failed"}
    left = missing(trunks, done)
    assert [trunk.name for trunk in left] == [trunk.name for trunk in trunks]
    assert [len(trunk.cells) for trunk in left] == [1, 1, 1, 1]
    assert [len(trunk.cells) for trunk in missing(trunks, done, retry=True)] == [1, 2, 1, 1]


def test_the_rate_falls_with_sparsity_by_the_studys_rule(write_study):
    content = write_study().read_text().replace("sparsities: [0, 3/4]", "sparsities: [0, 15/16]", 1)
    plain = plan(read_study(write_study(content)), TEXT)
    ruled = plan(read_study(write_study(content + "rate_sparsity_power: 1/4\n")), TEXT)
    base = Recipe().learning_rate
    assert {(t.model.sparsity, t.recipe.learning_rate) for t in plain} == {(0.0, base), (0.9375, base)}
    assert {(t.model.sparsity, t.recipe.learning_rate) for t in ruled} == {(0.0, base), (0.9375, base / 2)}
    assert [t.cells for t in plain if t.model.sparsity == 0] == [
        t.cells for t in ruled if t.model.sparsity == 0
    ]


def test_cells_are_selected_by_their_factors(write_study):
    trunks = plan(read_study(write_study()), TEXT)

    def number(*only):
        return sum(len(trunk.cells) for trunk in select_cells(trunks, only))

    assert number("budget=3e8") == 4 and number("budget=3e8", "sparsity=3/4") == 1
    assert number("seed=1") == 1 and number("width=8,16") == 6
    assert number(f"key={trunks[0].cells[0].key[:8]}") == 1
    for bad in ("width=9", "depth=1", "width", "width=x"):
        with pytest.raises(InputError, match="only"):
            number(bad)


def test_expected_seconds_come_from_the_nearest_recorded_runs(write_study):
    dense, sparse, wide, _ = plan(read_study(write_study()), TEXT)

    def record(trunk, speed, device="cpu"):
        measures = run_measures(trunk.cells[-1].config)
        losses = {"loss_nats": 2.0, "loss_stderr_nats": 0.1, "bits_per_byte": 2.9}
        return Record(
            trunk.cells[-1].config.to_dict(), 1, "done", measures | losses,
            cost={"tokens_per_second": speed}, environment={"device": device},
        )  # fmt: skip

    records = [record(dense, 1000.0), record(wide, 500.0), record(wide, 1.0, "cuda")]
    rates = Rates.of(map(row, records), "cpu")
    key = dense.cells[-1].key
    expected = dense.cells[-1].tokens / 1000
    assert cell_seconds(dense, rates, 0)[key] == pytest.approx(expected)
    assert rates.flops_per_second(wide.model) == pytest.approx(500 * wide.flops_per_token)
    assert rates.flops_per_second(sparse.model) == pytest.approx(1000 * dense.flops_per_token)
    assert cell_seconds(dense, rates, 9000)[key] > cell_seconds(dense, rates, 0)[key]
    assert "2 runs on cpu" in rates.source and "assumed" in Rates("cpu").source


def test_longest_first_on_two_processes():
    start = makespan_seconds([0.0], 2)
    assert makespan_seconds([3, 3, 2, 2, 2], 2) - start == 7
    assert makespan_seconds([5, 1, 1, 1, 1, 1], 2) - start == 5
    assert makespan_seconds([], 2) == 0


def test_a_plan_is_printed_and_counted_from_the_command_line(write_study, text_folder, tmp_path):
    import typer
    from typer.testing import CliRunner

    from moebook.cli.study import register

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    words = [
        "study",
        "plan",
        str(write_study()),
        "--folder",
        str(text_folder),
        "--runs",
        str(tmp_path / "runs"),
    ]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0 and "6 runs in 4 trunks, 6 of them missing" in printed.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    opened = open_study(str(write_study()), text_folder, tmp_path / "runs")
    assert [cell["key"] for cell in found["cells"]] == [cell.key for _, cell in cells_of(opened.trunks)]
    assert found["total"]["flops"] == sum(trunk.flops for trunk in opened.trunks)
    assert not (tmp_path / "runs").exists()


def test_a_failure_on_record_is_not_run_again_unasked_and_is_not_success(write_study, text_folder, tmp_path):
    import typer
    from typer.testing import CliRunner

    from moebook.cli.study import register
    from moebook.runs import Store

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    cell = open_study(str(write_study()), text_folder, tmp_path).trunks[0].cells[0]
    failed = Record(
        cell.config.to_dict(), NUMERICS, "failed", run_measures(cell.config), reason="KeyError: 'x'"
    )
    Store(tmp_path).add(failed)
    words = ["--folder", str(text_folder), "--runs", str(tmp_path), "--only", f"key={cell.key}"]
    ended = CliRunner().invoke(app, ["study", "run", str(write_study()), *words])
    assert (
        ended.exit_code == 1 and "--retry" in ended.output and "1 failed, 0 missing of 1 runs" in ended.output
    )
    status = CliRunner().invoke(app, ["study", "status", str(write_study()), *words, "--json"])
    assert json.loads(status.stdout)["failed"] == 1 and status.exit_code == 0


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yml")), ids=lambda path: path.stem)
def test_the_studies_of_the_repository_can_be_planned(path):
    study = read_study(path)
    trunks = plan(study, TextIdentity(study.text.name, study.text.sha256 or "00" * 32))
    assert study.name == path.stem and study.title
    least = {"granularity": {0.75, 0.9375}, "tuning": {0.0, 0.9375}}.get(study.purpose, {0.0, 0.75, 0.9375})
    assert least <= {trunk.model.sparsity for trunk in trunks}
    for trunk, cell in cells_of(trunks):
        assert cell.compute_flops == pytest.approx(cell.budget_flops, rel=0.01), trunk


def test_the_planned_cells_are_a_table_that_a_forecast_reads(write_study, text_folder, tmp_path):
    import pandas as pd
    from typer.testing import CliRunner

    from moebook import laws
    from moebook.bayes.quantities import take_points
    from moebook.cli import app

    out = tmp_path / "cells.csv"
    words = ["--folder", str(text_folder), "--runs", str(tmp_path / "runs"), "--out", str(out)]
    ran = CliRunner().invoke(app, ["study", "plan", str(write_study()), *words])
    assert ran.exit_code == 0, ran.output
    cells = pd.read_csv(out)
    planned = cells_of(plan(read_study(write_study()), TEXT))
    assert list(cells["params"]) == [counts(trunk.model).params for trunk, _ in planned]
    assert list(cells["tokens"]) == [cell.tokens for _, cell in planned]
    assert set(cells["learning_rate"]) == {trunk.recipe.learning_rate for trunk, _ in planned}
    points = take_points(cells, laws.get("abnar"), None, "cells.csv")
    assert list(points.columns["sparsity"]) == list(cells["sparsity"])
