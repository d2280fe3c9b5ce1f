"""S* as calibration ranks it is S* as it is cited."""

from pathlib import Path

import numpy as np
import pytest

from moebook import laws
from moebook.bayes import Posterior
from moebook.bayes.designs import grid_of
from moebook.optimum import optimum
from moebook.optimum.calibration import BestSparsity, best_sparsity

ENGLISH = Path(__file__).resolve().parents[2] / "runs" / "posteriors" / "english"


def test_it_is_the_optimum_of_every_draw():
    posterior = Posterior.load(ENGLISH)
    found = BestSparsity(times=(1.0,))(posterior)
    compute = posterior.compute_flops.max()
    cited = optimum(posterior, float(compute))
    # The family counts the FLOPs of a row to a few parts in a million of what the table says.
    slack = -np.log1p(-cited.sparsity_star)
    assert found["-log(1 - S*), 1 x the budget"] == pytest.approx(slack, abs=0.02)
    assert found["log loss at S*, 1 x the budget"] == pytest.approx(np.log(cited.loss_star_nats), abs=1e-4)


def test_it_is_ranked_where_there_is_a_choice_of_sparsities():
    abnar, chinchilla = laws.get("abnar"), laws.get("chinchilla")
    rows = grid_of(abnar)
    assert best_sparsity(abnar, rows) == (BestSparsity(),)
    assert best_sparsity(chinchilla, grid_of(chinchilla)) == ()
    rows.columns["sparsity"][:] = 0.5
    assert best_sparsity(abnar, rows) == ()
