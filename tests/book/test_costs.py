"""What the chapter on costs says follows from the measured file and the run table; nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moebook.architecture import Family, counts
from moebook.book import benchmarks
from moebook.book.benchmarks import FeedForward, Gpu, GpuStep, Result, Step
from moebook.book.contents import bars, costs, gpu_costs, paper_costs, run_costs
from moebook.book.say import listed, more
from moebook.figures import accounting
from moebook.runs.store import Store

ROW = FeedForward(
    tokens=4096, width=128, expert_width=128, experts=32, active=2,
    seconds={"dense": 0.02, "ours": 0.024, "transformers": 0.03},
    ratio={"our dense": 1.0, "ours": 1.2, "transformers": 1.5}, floor=1.1, bar=1.3,
    over_transformers=0.8, met=True, met_transformers=True,
)  # fmt: skip
CARD_STEP = GpuStep(
    width=512, experts=8, params=10**7, flops_per_token=1e8, tokens_per_second=2e6, share=0.4,
    share_stated=None, over_dense=0.9, bar=0.85, met=True, over_transformers=None,
)  # fmt: skip


def step(experts: int, seconds: float, width: int = 64, **changed) -> Step:
    config = Family().config(width, 0 if experts == 1 else 1 - 2 / experts)
    found = Step(
        width=width, experts=experts, active=config.active, sparsity=config.sparsity, tokens=4096,
        flops_per_token=counts(config).flops_per_token, params=counts(config).params,
        seconds={"ours": seconds, "transformers": 1.5 * seconds, "product": 0.01}, share=0.4, bar=0.3,
        faster=1.5, peer_bar=1.3, met=True, met_peer=True,
    )  # fmt: skip
    return replace(found, **changed)


def machine(*steps: Step, rows: tuple[FeedForward, ...] = (ROW,), gpu: Gpu | None = None) -> Result:
    return Result(
        "some", "Some(R) Processor", "0123456789", "2026-01-02T03:04:05+00:00", 15, rows, steps, gpu
    )


@pytest.fixture
def measured(monkeypatch):
    """measured(results): what `make bench` is taken to have written."""

    def put(*results: Result) -> None:
        for cached in (costs.machines, run_costs._ways, run_costs.at_equal_time, run_costs.timed_records):
            cached.cache_clear()
        for room in (costs, run_costs, gpu_costs):
            monkeypatch.setattr(room, "load_results", lambda: list(results))

    yield put
    for cached in (costs.machines, run_costs._ways, run_costs.at_equal_time, run_costs.timed_records):
        cached.cache_clear()


def test_ratios_in_words():
    ratios = (1.25, 0.97, 1.004, 1.994, 1.995, 2.54)
    assert [more(ratio) for ratio in ratios] == [
        "25 % more", "3 % less", "about as much", "99 % more", "2.0 times as much", "2.5 times as much",
    ]  # fmt: skip
    assert [listed(["a", "b", "c"][:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_time_is_said_beside_flops_and_changes_with_the_seconds():
    slow, fast = (machine(step(1, 0.1), step(8, 0.104), step(64, t)) for t in (0.15, 0.09))
    assert "64 experts instead of a dense feed-forward take 6 % more FLOPs and 50 % more time" in (
        costs.steps_in_words(slow)
    )
    assert "6 % more FLOPs and 10 % less time" in costs.steps_in_words(fast)
    assert "On Some Processor, no." in costs.equal_in_words(slow)
    assert "between 3 % more and 41 % more time" in costs.equal_in_words(slow)


def test_equal_seconds_are_called_nearly_equal():
    dense, sparse = step(1, 0.1), step(64, 0.1)
    even = replace(
        sparse,
        seconds=sparse.seconds | {"ours": 0.1 * sparse.flops_per_token / dense.flops_per_token},
    )
    assert "Some Processor, nearly." in costs.equal_in_words(machine(dense, even))


def test_a_core_that_slows_down_between_two_steps_changes_nothing():
    dense, sparse = step(1, 0.1), step(64, 0.15)
    late = replace(sparse, seconds={name: 1.3 * seconds for name, seconds in sparse.seconds.items()})
    steady, drifting = machine(dense, sparse), machine(dense, late)
    for said in (costs.equal_in_words, costs.steps_in_words):
        assert said(drifting) == said(steady)
    top = np.array([sparse.sparsity])
    assert run_costs.timed_slowdown(drifting)(top) == pytest.approx(run_costs.timed_slowdown(steady)(top))


def test_the_bytes_of_weights_are_two_over_the_tokens_of_an_expert():
    assert ROW.rows_per_expert == 256 and costs._weight_bytes(ROW) == pytest.approx(2 / 256)
    few = replace(ROW, tokens=512, floor=1.9, ratio=ROW.ratio | {"ours": 2.2})
    said = costs.feed_forwards_in_words(machine(step(1, 0.1), rows=(few, ROW)))
    assert "with 256 tokens an expert" in said and "1.10 of dense, and with 32 tokens to 1.90" in said
    assert "0.0078 and 0.062 bytes" in said and "takes 1.20 and 2.20" in said


def test_every_bar_met_is_said():
    assert "all 4 bars were met" in bars.bars_in_words(machine(step(1, 0.1)))


def test_a_missed_feed_forward_gives_its_reason():
    around = replace(ROW, ratio=ROW.ratio | {"ours": 1.4}, met=False)
    said = bars.bars_in_words(machine(step(1, 0.1), rows=(around,)))
    assert "3 of 4 bars were met" in said and "1.40 (bar 1.30) of the dense time" in said
    assert "would bring it to 1.10; the rest goes into choosing" in said
    products = replace(around, floor=1.35)
    said = bars.bars_in_words(machine(step(1, 0.1), rows=(products,)))
    assert "bring it to 1.35: for so few tokens each, they are too slow" in said
    slower = replace(ROW, over_transformers=1.04, met_transformers=False)
    said = bars.bars_in_words(machine(step(1, 0.1), rows=(slower,)))
    assert "4 % more time than transformers" in said and "are 92 % of our time" in said


def test_missed_steps_of_a_width_are_said_together():
    sparse = [step(e, 0.1, share=0.2, met=False) for e in (8, 64)]
    said = bars.bars_in_words(machine(step(1, 0.1), *sparse))
    assert "A step of width 64, with 8 and 64 experts: useful FLOPs are 0.200 and 0.200" in said
    assert "reaches 0.400; here an expert gets 1024 and 128 tokens a step" in said
    moved = [paper_costs.megabytes(28 * s.params) for s in sparse]
    assert f"{moved[0]} and {moved[1]} instead of" in said
    slow = [step(e, 0.1, faster=1.2996, met_peer=False) for e in (1, 8)]
    said = bars.bars_in_words(machine(*slow))
    assert "dense and with 8 experts: 1.300 and 1.300 times the speed" in said
    dense = bars.bars_in_words(machine(step(1, 0.1, share=0.29999, met=False)))
    assert "dense: useful FLOPs are 0.29999 (bar 0.30)" in dense, "a near miss is not rounded away"


def test_tables_hold_every_row_with_its_verdict():
    result = machine(step(1, 0.1), step(8, 0.1, share=0.2, met=False))
    text = costs.step_table(result)
    assert text.count("<tr>") == 3 and "≥ 0.30: pass" in text and "≥ 0.30: miss" in text
    assert "≤ 1.30: pass" in costs.feed_forward_table(result)


def test_a_gpu_that_was_not_measured_is_said_so(measured):
    measured(machine(step(1, 0.1)))
    assert "**not measured**" in gpu_costs.gpu_in_words() and gpu_costs.gpu_tables() == []


def test_a_gpu_that_was_measured_is_shown_with_its_misses(measured):
    missed = replace(CARD_STEP, width=1024, over_dense=0.7, met=False)
    card = Gpu("NVIDIA H100", 700.0, {"MegaBlocks, A100": {"41M": 0.49}}, (CARD_STEP, missed))
    measured(machine(step(1, 0.1), gpu=card))
    said = gpu_costs.gpu_in_words()
    assert "at most 40 %" in said and "missed, 0.70 at width 1024, E = 8." in said
    assert "0.49 at 41M active parameters (MegaBlocks, A100)" in said
    [table] = gpu_costs.gpu_tables()
    assert "≥ 0.85: pass" in table and "≥ 0.85: miss" in table and "NVIDIA H100" in table
    measured(machine(step(1, 0.1), gpu=replace(card, rows=(CARD_STEP,))))
    assert "tokens per second: met." in gpu_costs.gpu_in_words()


def test_a_machine_with_a_gpu_alone_has_no_panel_of_a_processor(measured):
    measured(machine(rows=(), gpu=Gpu("NVIDIA H100", 700.0, {}, (CARD_STEP,))))
    assert costs.machines() == ()


def with_times(records, per_flop):
    """The records, each as slow as per_flop(sparsity) says, on a named processor."""
    for record in records:
        seconds = per_flop(record.measures["sparsity"]) * record.measures["compute_flops"]
        yield replace(
            record, cost=record.cost | {"cpu_seconds": seconds},
            environment={"device": "cpu", "hardware": "Some(R) Processor", "commit": "abcdef123456"},
        )  # fmt: skip


@pytest.fixture
def timed(record_store, monkeypatch):
    """Made-up runs of which a sparse FLOP takes one and a half times the time, and twice at the sparsest."""
    done = [record for record in Store(record_store).load() if record.done]
    made = tuple(with_times(done, lambda s: 1e-10 * (1 if s == 0 else 1.5 if s == 3 / 4 else 2.0)))
    monkeypatch.setattr(run_costs, "timed_records", lambda: made)
    monkeypatch.setattr(run_costs, "texts", lambda: ["packages"])
    return made


def test_the_slowdown_of_the_runs_is_found_at_every_width(timed):
    table = run_costs.slowdowns()
    assert set(table["width"]) == {12, 16, 24, 32, 48}
    for sparsity, times in ((0, 1), (3 / 4, 1.5), (15 / 16, 2)):
        assert np.allclose(table[table["sparsity"] == sparsity]["times"], times)
    said = run_costs.slowdown_in_words()
    assert "took 1.5 to 2.0 times the CPU time" in said and "1.5 at S = 3/4 and 2.0 at S = 15/16" in said
    assert "on Some Processor, with 512 bytes in a step, and with the code of abcdef1" in said
    assert run_costs.slowdown_figures().count("<svg") == 1


def test_the_clock_stands_beside_the_cpu_time(timed, monkeypatch):
    """Planted: the clock says twice the CPU time, and nothing at the largest budget."""
    clocked = [
        replace(record, cost=record.cost | {"wall_seconds": 2 * record.cost["cpu_seconds"]})
        if record.measures["compute_flops"] < 2e11
        else replace(record, cost={"cpu_seconds": record.cost["cpu_seconds"]})
        for record in timed
    ]
    slow = [replace(r, cost={name: 600 * value for name, value in r.cost.items()}) for r in clocked]
    monkeypatch.setattr(run_costs, "timed_records", lambda: slow)
    shown = run_costs.minutes_table()
    pairs = re.findall(r'<td class="mb-number">(\d+\.\d+) / (\d+\.\d+|–)<', shown)
    assert len(pairs) == 9, "three budgets, three sparsities"
    for cpu, clock in pairs[:6]:
        assert float(clock) == pytest.approx(2 * float(cpu), abs=0.11)
    assert [clock for _, clock in pairs[6:]] == ["–"] * 3
    assert "the whole of it up to their end" in shown


def test_between_the_sparsities_that_were_timed_lie_lines(timed):
    found = run_costs.run_slowdown()(np.array([0, 1 / 2, 3 / 4, 7 / 8, 15 / 16, 31 / 32]))
    assert np.allclose(found, [1, 1.25, 1.5, 1.75, 2, 2])
    result = machine(step(1, 0.1), step(64, 0.2), step(1, 9.0, width=128), step(8, 9.0, width=128))
    times = run_costs.timed_slowdown(result)(np.array([0, 31 / 32]))
    flops = [s.flops_per_token for s in result.steps[:2]]
    assert np.allclose(times, [1, 2 * flops[0] / flops[1]]), (
        "of the smallest width, which is nearest the runs"
    )


def test_a_dip_of_the_times_is_no_bargain(monkeypatch):
    """Medians of few runs may fall where sparsity rises; the optimum must not fall into that."""
    rows = [(0.0, 1.0), (0.5, 1.6), (0.75, 1.2), (0.875, 1.8), (0.875, 1.9), (0.875, 1.7)]
    table = pd.DataFrame(rows, columns=["sparsity", "times"])
    monkeypatch.setattr(run_costs, "slowdowns", lambda: table)
    assert np.allclose(run_costs.run_slowdown()(np.array([0.0, 0.5, 0.75, 0.875])), [1, 1.4, 1.4, 1.8])


def test_what_was_measured_is_set_beside_the_runs(timed):
    result = replace(machine(step(1, 0.1), step(64, 0.15)), commit="abcdef1234567890")
    said = run_costs.beside_the_runs(result)
    assert "The code is the same." in said and "hold 8 times the tokens" in said
    assert "gets 128 of them instead of 16" in said
    assert "take 41 % more time a FLOP than dense ones, the runs of that sparsity 2.0 times as much." in said
    assert said.endswith("no constant of a model.")
    dense, sparse = result.steps
    twice = 2 * dense.seconds["ours"] * sparse.flops_per_token / dense.flops_per_token
    slow = machine(dense, step(64, twice))
    assert "no constant" not in run_costs.beside_the_runs(slow)
    assert "The code is another, that of 0123456." in run_costs.beside_the_runs(
        machine(step(1, 0.1), step(64, 0.1))
    )


def test_memory_is_that_of_the_counts():
    said = paper_costs.paper_in_numbers()
    sparse = counts(Family().config(paper_costs.WIDTH, paper_costs.TOP))
    assert said["sparse_memory"] == paper_costs.megabytes(16 * sparse.params)
    assert (said["training_bytes"], said["weight_bytes"]) == ("16", "4")


def test_the_terms_sum_to_what_a_token_costs():
    for sparsity in paper_costs.SPARSITIES:
        terms = counts(Family().config(paper_costs.WIDTH, sparsity)).flop_terms
        assert sum(terms[name] for name in paper_costs.COUNTED) == sum(terms.values()), "a term is not shown"


def test_the_wider_the_model_the_closer_the_other_counts():
    widths = np.geomspace(*paper_costs.CONVENTION_WIDTHS, 30)
    for sparsity in (*paper_costs.SPARSITIES, paper_costs.TOP):
        for name, ratio in accounting.convention_ratios(Family(), widths, sparsity).items():
            assert (np.diff(np.abs(np.log(ratio))) <= 1e-12).all(), name


def test_the_stored_results_are_sound():
    assert all(result.rounds >= 1 for result in benchmarks.load_results())
