"""The budget from which a larger batch is no worse, out of made-up pairs."""

import numpy as np
import pytest

from moebook.errors import InputError
from moebook.study.batch_rule import fit_batch


def pairs(cost, budgets=(3e11, 3e11, 1e12, 1e12, 3e12, 3e12, 1e13), **more):
    return [{"compute_flops": c, "smaller": 512, "larger": 1024, "cost_nats": cost(np.log10(c))} | more
            for c in budgets]  # fmt: skip


def test_a_planted_switch_is_found():
    rule = fit_batch(pairs(lambda x: 0.03 * (12.7 - x)))
    assert rule.switch_flops == pytest.approx(10**12.7) and rule.per_decade_nats == pytest.approx(-0.03)
    assert rule.residual_nats == pytest.approx(0, abs=1e-12) and rule.pairs == 7
    assert (rule(10**12.6), rule(10**12.8)) == (512, 1024)
    assert (rule.low_flops, rule.high_flops) == (pytest.approx(3e11), pytest.approx(1e13))


def test_errors_are_those_of_repeated_noise():
    rng, switches, slopes, said = np.random.default_rng(0), [], [], []
    for _ in range(400):
        rule = fit_batch(pairs(lambda x: 0.03 * (12.7 - x) + rng.normal(0, 0.004)))
        switches.append(np.log10(rule.switch_flops))
        slopes.append(rule.per_decade_nats)
        said.append((rule.switch_decades_error, rule.per_decade_error_nats, rule.residual_nats))
    switch, slope, residual = np.sqrt(np.mean(np.square(said), axis=0))
    assert switch == pytest.approx(np.std(switches), rel=0.25)
    assert slope == pytest.approx(np.std(slopes), rel=0.15) and residual == pytest.approx(0.004, rel=0.1)


def test_the_pair_of_batches_that_was_compared_most_counts():
    odd = [{"compute_flops": 1e12, "smaller": 1024, "larger": 2048, "cost_nats": 9.0}]
    assert fit_batch(pairs(lambda x: 12.7 - x) + odd).larger == 1024


@pytest.mark.parametrize("given, says", [
    ([], "0 pairs of batches: too few"),
    (pairs(lambda x: 1.0, (1e12, 1e12, 1e12)), "3 pairs of batches: too few budgets"),
    (pairs(lambda x: 0.01 * x), "does not get cheaper"),
])  # fmt: skip
def test_no_rule_is_no_rule(given, says):
    with pytest.raises(InputError, match=says):
        fit_batch(given)
