"""A rule for the rate is found where one was planted, and refused where the runs show none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from moebook.cli import app
from moebook.errors import InputError
from moebook.runs import Record, Store
from moebook.study.tuning import (
    Anchor,
    anchors,
    anchors_of_study,
    by_batch,
    fit_rate,
    gains,
    regret_nats,
)

POWERS = {"params": 0.1, "tokens": -0.2, "unsparsity": 0.25, "batch_tokens": 0.5}
CURVATURE = 0.02


def best(params, tokens, sparsity, batch):
    factors = (params / 1e5) ** 0.1, (tokens / 1e6) ** -0.2, (1 - sparsity) ** 0.25, (batch / 512) ** 0.5
    return 8e-3 * np.prod(factors)


def planted(noise=0.0, rates=(4e-3, 8e-3, 16e-3), curvature=CURVATURE):
    rng, found = np.random.default_rng(0), []
    for i, (params, tokens) in enumerate([(5e4, 1e6), (2e5, 1e6), (5e4, 4e6), (4e5, 5e6)]):
        for sparsity in (0.0, 0.75, 0.9375):
            for batch in (512, 1024):
                x = np.log2(rates) - np.log2(best(params, tokens, sparsity, batch))
                losses = 2 - i / 10 + 0.01 * (batch == 1024) + curvature * x**2
                losses += noise * rng.normal(size=len(rates))
                points = [(r, 0, loss) for r, loss in zip(rates, losses, strict=True)]
                points += [(r, 1, loss + 0.05) for r, _, loss in points[1:]]  # a worse seed, not at all rates
                flops = 6.0 * params * tokens
                found.append(Anchor(32, sparsity, params, tokens, flops, batch, "{}", tuple(points)))
    return found


def test_a_planted_rule_is_found_to_the_last_digit():
    found = planted()
    rule = fit_rate(found)
    assert rule.powers == pytest.approx(POWERS, abs=1e-6)
    assert rule.curvature_nats == pytest.approx(CURVATURE) and rule.residual_nats < 1e-8
    assert rule.curvature_growth_nats == pytest.approx(0, abs=1e-8)
    for anchor in found:
        expected = best(anchor.params, anchor.tokens, anchor.sparsity, anchor.batch_tokens)
        assert rule(anchor) == pytest.approx(expected)
        if anchor.bracketed:
            assert regret_nats(anchor, 2 * expected) == pytest.approx(CURVATURE)
    assert rule.runs == 5 * len(found)


def test_a_seed_that_is_worse_makes_no_rate_or_batch_worse():
    """Seed 1 was not run at the lowest rate, nor with the larger batch: means over runs would mislead."""
    small, large = planted()[:2]
    assert np.ptp(np.subtract(small.losses_nats, [loss for _, s, loss in small.points if s == 0])) < 1e-12
    alone = large.with_seeds({0})
    (found,) = by_batch([small, alone])
    assert found["cost_nats"] == pytest.approx(by_batch([small, large])[0]["cost_nats"])
    assert by_batch([small.with_seeds({1}), alone]) == []


def test_errors_of_the_powers_are_those_of_repeated_fits():
    """The stated standard errors beside the spread over many sets of noise."""
    many = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        noisy = [
            replace(a, points=tuple((r, s, loss + 0.004 * rng.normal()) for r, s, loss in a.points))
            for a in planted()
        ]
        many.append(fit_rate(noisy))
    for name in POWERS:
        spread = np.std([rule.powers[name] for rule in many])
        stated = np.median([rule.errors[name] for rule in many])
        assert 0.8 < stated / spread < 1.25, name
        inside = [abs(rule.powers[name] - POWERS[name]) < 2 * rule.errors[name] for rule in many]
        assert np.mean(inside) > 0.9, name


def test_a_curvature_that_grows_with_sparsity_is_found():
    steeper = [
        replace(a, points=tuple((r, s, loss + 0.005 * -np.log2(1 - a.sparsity) * np.log2(
            r / best(a.params, a.tokens, a.sparsity, a.batch_tokens)) ** 2) for r, s, loss in a.points))
        for a in planted()
    ]  # fmt: skip
    rule = fit_rate(steeper)
    assert rule.curvature_growth_nats == pytest.approx(0.005, rel=1e-6)
    assert rule.powers == pytest.approx(POWERS, abs=1e-6)
    assert rule.curvature(steeper[-1]) == pytest.approx(CURVATURE + 4 * 0.005)


def test_a_factor_that_did_not_vary_has_no_power():
    rule = fit_rate([anchor for anchor in planted() if anchor.batch_tokens == 512])
    assert set(rule.powers) == {"params", "tokens", "unsparsity"}


def test_no_lowest_point_is_no_rule():
    with pytest.raises(InputError, match="no lowest point"):
        fit_rate(planted(curvature=-0.02))
    with pytest.raises(InputError, match="too few"):
        fit_rate([planted()[0].with_seeds({0})])
    with pytest.raises(InputError, match="too few"):
        fit_rate([])


def test_a_larger_batch_s_cost_is_at_each_batch_s_own_best_rate():
    found = by_batch(planted(rates=(2e-3, 4e-3, 8e-3)))
    assert len(found) == 12 and {(each["smaller"], each["larger"]) for each in found} == {(512, 1024)}
    assert all(abs(each["cost_nats"] - 0.01) <= CURVATURE for each in found)
    assert not all(each["bracketed"] for each in found)


def test_the_gain_of_sparsity_at_a_wrong_rate():
    """At the rule's own rates a factor costs all alike; at one rate for all, sparse models lose more."""
    found = planted(rates=(1e-3, 2e-3, 4e-3, 8e-3, 16e-3))
    rule = fit_rate(found)
    by_rule = gains(found, rule, rule, (0.5, 1.0, 2.0))
    assert {round(g, 9) for each in by_rule for g in each["gain_nats"].values()} == {0.0}
    same = gains(found, rule, lambda anchor: 8e-3, (1.0, 2.0))
    twice = [each for each in same if each["factor"] == 2.0 and len(each["gain_nats"]) == 3]
    assert twice and all(each["gain_nats"][0.9375] < -0.01 for each in twice)


def records():
    for sparsity, experts in ((0.0, 1), (0.75, 8)):
        for rate in (4e-3, 8e-3, 16e-3):
            for seed in (0, 1):
                x = np.log2(rate / (8e-3 * (1 - sparsity) ** 0.25))
                loss = 2.0 + CURVATURE * x * x + (0.001 if seed else -0.001)
                model = {"width": 32, "layers": 2, "context": 128, "experts": experts, "active": 1,
                         "granularity": 1}  # fmt: skip
                measures = {
                    "params": 50_000 * experts, "params_active": 50_000, "params_nonembedding": 40_000,
                    "params_active_nonembedding": 40_000, "sparsity": sparsity, "tokens": 51_200,
                    "compute_flops": 3e11, "flops_per_token": 3e5, "loss_nats": loss, "bits_per_byte": 2.9,
                }  # fmt: skip
                config = {"model": model, "recipe": {"learning_rate": rate, "batch_sequences": 4},
                          "text": {"name": "english", "sha256": "ab" * 32}, "tokens": 51_200, "seed": seed}
                yield Record(config, 2, "done", measures, study="tune-it", purpose="tuning")


def test_a_record_without_a_rate_is_named():
    one = next(records())
    config = {**one.config, "recipe": {"batch_sequences": 4}}
    strange = Record(config, 2, "done", one.measures)
    with pytest.raises(InputError, match=f"^{strange.key}: config.recipe.learning_rate: missing"):
        anchors([strange])


def test_runs_of_other_studies_at_an_anchor_count_and_no_others(tmp_path):
    """A cell that the table had run before is its, by name, and a rate of its own is one more rate."""
    store, made = Store(tmp_path), list(records())
    shared, *own = made[:6]
    for record in own:
        store.add(record)
    store.add(replace(shared, study="table", purpose=""))

    def other(recipe=(), study="table", purpose="", numerics=2, measures=(), **changes):
        recipe = shared.recipe | {"learning_rate": 5e-3} | dict(recipe)
        config = {**shared.config, "recipe": recipe, **changes}
        values = shared.measures | dict(measures)
        store.add(Record(config, numerics, "done", values, study=study, purpose=purpose))

    other()
    (found,) = anchors_of_study("tune-it", tmp_path)
    assert found.rates == (0.004, 0.005, 0.008, 0.016) and len(found.points) == 7
    other(recipe={"learning_rate": 6e-3}, purpose="held-out")
    other(recipe={"learning_rate": 6e-3}, seed=7)
    other(recipe={"warmup_tokens": 5})
    other(numerics=1)
    other(text={"name": "english", "sha256": "cd" * 32})
    other(tokens=102_400, measures={"tokens": 102_400, "compute_flops": 6e11})
    other(model=shared.model | {"layers": 3})
    assert anchors_of_study("tune-it", tmp_path) == [found]


def test_a_rate_hard_by_is_no_neighbour():
    """At 4 % from the best, noise says what the slope is: the parabola is that of rates farther off."""
    at = lambda rate: 2 + CURVATURE * np.log2(rate / 4.5e-3) ** 2  # noqa: E731
    points = [(rate, 0, at(rate)) for rate in (2e-3, 4e-3, 8e-3)] + [(4.2e-3, 0, at(4.2e-3) - 0.001)]
    anchor = Anchor(32, 0.0, 1, 1, 1.0, 512, "{}", tuple(points))
    assert anchor.best_rate == 4.2e-3 and anchor.bracketed
    assert regret_nats(anchor, 8e-3) == pytest.approx(CURVATURE * np.log2(8 / 4.5) ** 2, rel=0.1)
    assert not replace(anchor, points=tuple(points[1:])).bracketed


def test_from_records_to_the_printed_rule(tmp_path):
    made = list(records())
    found = anchors(made)
    assert [(a.sparsity, a.rates, len(a.points)) for a in found] == [
        (s, (0.004, 0.008, 0.016), 6) for s in (0.0, 0.75)
    ]
    assert found[0].best_rate == 0.008 and found[0].parabola()[0] == pytest.approx(np.log2(0.008))
    store = Store(tmp_path / "runs")
    for record in made:
        store.add(record)
    study = tmp_path / "tune.yml"
    study.write_text(
        "name: tune-it\npurpose: tuning\ntext: {source: packages, name: packages}\n"
        "grid: [{budgets: 3e11, sparsities: 0, widths: 32, seeds: 0}]\n"
    )

    def command(*words):
        return CliRunner().invoke(app, ["study", "tune", str(study), "--runs", str(store.root), *words])

    printed = command()
    assert printed.exit_code == 0, printed.output
    report = json.loads(command("--json").output)
    assert report["rule"]["runs"] == 12 and len(report["anchors"]) == 2
    assert f"rate = {report['rule']['rate']:.3g} * (" in printed.output
    assert "the fit of 12 runs at 2 anchors" in printed.output

    for i, record in enumerate(made[:2]):  # a twin of another recipe, at one rate
        recipe = record.recipe | {"query_key_scale": 0.3}
        store.add(replace(record, config={**record.config, "recipe": recipe, "seed": i}))
    (other,) = (line for line in command().output.splitlines() if "query_key_scale" in line)
    assert other.split()[-2:] == ["query_key_scale", "0.3"] and other.split()[0].startswith("0.004:")
    again = json.loads(command("--json").output)
    assert len(again["anchors"]) == 3 and again["rule"] == report["rule"]

    study.write_text(study.read_text().replace("name: tune-it", "name: other"))
    refused = command()
    assert refused.exit_code == 2 or isinstance(refused.exception, InputError)
    assert "study: other: no run that is done" in f"{refused.output}{refused.exception}"
