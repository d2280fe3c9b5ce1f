"""What `make reproduce` says of a number that came out otherwise."""

import math
import random
from dataclasses import replace

import pytest

from moebook.reproduce import (
    DIFFERS,
    SAME_BITS,
    WITHIN_MONTE_CARLO,
    WITHIN_SEED_NOISE,
    compare_estimate,
    compare_run,
    seed_deviation_nats,
    tally,
    worst,
)
from moebook.runs import Record

MEASURES = {
    "params": 10, "params_active": 10, "params_nonembedding": 5, "params_active_nonembedding": 5,
    "sparsity": 0.0, "tokens": 128, "compute_flops": 1280.0, "flops_per_token": 10,
    "loss_stderr_nats": 0.01, "bits_per_byte": 2.9,
}  # fmt: skip


def record(loss_nats=2.0, seed=0, width=8, **changes):
    model = {"width": width, "layers": 1, "context": 32, "experts": 1, "active": 1, "granularity": 1}
    made = Record(
        config={
            "model": model, "recipe": {}, "text": {"name": "t", "sha256": "0"}, "tokens": 128, "seed": seed,
        },
        numerics=1, status="done", measures=MEASURES | {"loss_nats": loss_nats},
    )  # fmt: skip
    return replace(made, **changes)


def test_seed_noise_is_that_between_seeds_of_one_cell():
    rng = random.Random(0)
    records = [record(width + rng.gauss(0, 0.05), seed, width) for width in range(1, 201) for seed in (0, 1)]
    assert seed_deviation_nats(records) == pytest.approx(0.05, rel=0.15)
    records[0] = record(500.0, 0, 1)
    assert seed_deviation_nats(records) == pytest.approx(0.05, rel=0.15), "one wrong record changes little"
    assert math.isnan(seed_deviation_nats([record(2.0, 0), record(3.0, 0, width=16)]))


def test_a_retrained_run_has_the_same_bits_or_lies_within_seed_noise_or_differs():
    assert compare_run(record(2.0), record(2.0), 0.01).level == SAME_BITS
    assert compare_run(record(2.05), record(2.0), 0.01).level == WITHIN_SEED_NOISE
    assert compare_run(record(2.06), record(2.0), 0.01).level == DIFFERS
    assert compare_run(record(2.0), None, 0.01).level == DIFFERS
    assert compare_run(record(2.0000001), record(2.0), math.nan).level == DIFFERS, (
        "unknown noise excuses nothing"
    )


def test_time_and_machine_are_not_part_of_a_runs_bits():
    elsewhere = record(
        2.0, cost={"wall_seconds": 5.0}, environment={"hardware": "another"}, finished="2026-01-01"
    )
    assert compare_run(elsewhere, record(2.0), 0.01).level == SAME_BITS
    curved = record(2.0, curve={"tokens": [512], "loss_nats": [1.0]})
    assert compare_run(curved, record(2.0), 0.01).level == WITHIN_SEED_NOISE


def test_what_is_measured_now_and_was_not_before_is_no_difference():
    more = record(2.0)
    more = replace(more, measures=more.measures | {"load_largest_by_layer": [1.0]})
    assert compare_run(more, record(2.0), 0.01).level == SAME_BITS
    assert compare_run(record(2.0), more, 0.01).level == WITHIN_SEED_NOISE, "but what is gone is"


def test_a_run_that_diverged_where_the_committed_one_did_not_differs():
    measures = {k: v for k, v in MEASURES.items() if k not in ("loss_stderr_nats", "bits_per_byte")}
    wild = record(status="diverged", reason="nan at step 2", measures=measures)
    found = compare_run(wild, record(2.0), 0.01)
    assert found.level == DIFFERS and "diverged now, done before" in found.detail


def test_an_estimate_is_judged_by_its_monte_carlo_error():
    assert compare_estimate("b", 1.0, 1.0, 0.1, 0.1).level == SAME_BITS
    assert compare_estimate("b", 1.4, 1.0, 0.06, 0.08).level == WITHIN_MONTE_CARLO
    assert compare_estimate("b", 1.41, 1.0, 0.06, 0.08).level == DIFFERS
    assert compare_estimate("b", math.nan, 1.0, 0.06, 0.08).level == DIFFERS


def test_the_tally_counts_and_the_worst_is_the_weakest():
    found = [compare_run(record(x), record(2.0), 0.01) for x in (2.0, 2.0, 2.05)]
    assert tally(found) == "2 same bits, 1 within seed noise"
    assert worst(found) == WITHIN_SEED_NOISE
    assert worst([]) == SAME_BITS
