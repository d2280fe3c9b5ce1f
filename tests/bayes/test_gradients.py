"""Gradients by another route: the compiled gradient is the slope of the compiled density."""


import numpy as np
import pymc as pm
import pytest

from moebook import laws
from moebook.bayes.compiled import compiled_model
from moebook.bayes.discrepancy import fitted_basis
from moebook.bayes.model import Form, data_of, integrates_level
from moebook.bayes.priors import Priors

SMALL = Priors(pairs=4, growth=0.0)
ROWS = 20
RANGES = {
    "params": (1e7, 1e9), "params_active": (1e7, 1e9), "params_nonembedding": (1e7, 1e9),
    "tokens": (1e8, 1e11), "compute_flops": (1e17, 1e20), "experts": (1, 256), "granularity": (1, 16),
}  # fmt: skip


def rows_of(law, priors, form, rng):
    """Random rows of a law as the data of its model, losses about 2.5."""
    columns = [
        rng.uniform(0, 0.95, ROWS) if name == "sparsity" else np.exp(rng.uniform(*np.log(RANGES[name]), ROWS))
        for name in law.columns
    ]
    basis = fitted_basis(law.columns, columns, priors.pairs, 1.5, 0.5, priors.growth)
    noises = [np.exp(h * rng.standard_normal(ROWS)) for h in np.linspace(-0.3, 0.3, form.exponents)]
    return data_of(
        law, columns, 2.5 * np.exp(0.1 * rng.standard_normal(ROWS)), law.units(*columns), basis,
        group=np.arange(ROWS) % form.groups if form.groups else None,
        covariates=rng.standard_normal((ROWS, form.covariates)) if form.covariates else None,
        scaled=[(basis(*columns) / v[:, None], v) for v in noises] if form.exponents > 1 else None,
        level=integrates_level(priors, form),
    )  # fmt: skip


def slope(function, point, i, step=2e-4):
    """d function / d point[i] by five points: the error is of order step^4."""

    def at(times):
        moved = point.copy()
        moved[i] += times * step
        return function(moved)

    return (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * step)


@pytest.mark.parametrize(
    ("name", "form", "priors"),
    [
        ("chinchilla", Form(8), SMALL),
        *(pytest.param(n, Form(8), SMALL, marks=pytest.mark.slow) for n in laws.names() if n != "chinchilla"),
        pytest.param("chinchilla", Form(8, groups=3), SMALL, marks=pytest.mark.slow),
        pytest.param("chinchilla", Form(8, covariates=2), SMALL, marks=pytest.mark.slow),
        pytest.param("chinchilla", Form(8, exponents=3), SMALL, marks=pytest.mark.slow),
        pytest.param(
            "chinchilla", Form(8), Priors(pairs=4, growth=0.0, tail_limit=0.5), marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_the_compiled_gradient_is_the_slope_of_the_compiled_density(name, form, priors, evaluate):
    law, rng = laws.get(name), np.random.default_rng(0)
    model, compiled = compiled_model(law, priors, form)
    rows = rows_of(law, priors, form, rng)
    compiled = compiled.with_data(**rows)
    with model:
        pm.set_data(rows)
    start = np.concatenate([np.ravel(value) for value in model.initial_point().values()])

    def density(point):
        return evaluate.log_density(compiled, point)[0]

    for _ in range(3):
        point = start + 0.02 * rng.standard_normal(len(start))
        gradient = evaluate.log_density(compiled, point)[1]
        slopes = [slope(density, point, i) for i in range(len(point))]
        assert gradient == pytest.approx(slopes, rel=1e-6, abs=1e-8 * np.abs(gradient).max())
