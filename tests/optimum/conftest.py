"""Posteriors made by hand: chosen coefficients as draws, so that the answer is known."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from moebook import laws
from moebook.architecture import Family
from moebook.bayes import Posterior
from moebook.bayes.discrepancy import fitted_basis

SCALARS = {"discrepancy_scale": 0.0, "noise_scale": 0.01, "tail": 0.1}


def totals_of(law, coefficients, units):
    """The totals of Eq. 6 that give these raw coefficients in these units: the inverse of from_totals."""
    k = law.rescale(coefficients, {name: 1 / unit for name, unit in units.items()})
    # rescale multiplies by unit ** exponent, so that the inverse units take it back
    floor, size = k["c"] + k["e"], k["a"] + k["d"]
    level = floor + size + k["b"]
    return {
        "level": level,
        "data_share": k["b"] / level,
        "floor_of_rest": floor / (floor + size),
        "size_plain_share": k["a"] / size,
        "floor_tilt_share": k["c"] / floor,
        **{name: k[name] for name in ("alpha", "beta", "gamma", "lambda", "delta")},
    }


@pytest.fixture(scope="session")
def make():
    """make(list of raw coefficients, budgets, sparsities, widths) -> Posterior with these as its draws."""

    def build(
        draws, budgets=(1e11, 1e12), sparsities=(0.0, 0.5, 0.75, 0.9), widths=(16, 24, 32, 48, 64), prior=None
    ):
        law = laws.get("abnar")
        rows = [(w, s, c) for w in widths for s in sparsities for c in budgets]
        width, sparsity, compute = (np.array(column, float) for column in zip(*rows, strict=True))
        counts = Family().counts_at(width, sparsity)
        columns = [counts.params, compute / counts.flops_per_token, sparsity]
        units = law.units(*columns)
        basis = fitted_basis(law.columns, columns, 8, 1.5, 0.5)

        def group(coefficients):
            totals = [{**totals_of(law, k, units), **SCALARS} for k in coefficients]
            named = {name: np.array([[t[name] for t in totals]] * 2) for name in totals[0]}
            return xr.Dataset({name: (("chain", "draw"), values) for name, values in named.items()})

        posterior = group(draws)
        shape = (2, len(draws), 16)
        posterior["discrepancy_weights"] = (("chain", "draw", "function"), np.zeros(shape))
        stored = {
            "centre": ("axis", basis.centre), "scale": ("axis", basis.scale),
            "frequencies": (("pair", "axis"), basis.frequencies),
            "rotation": (("raw_function", "function"), basis.rotation),
        }  # fmt: skip
        observed = dict(zip((*law.columns, "loss_nats"), (*columns, law(draws[0], *columns)), strict=True))
        data = az.InferenceData(
            posterior=posterior,
            prior=group(prior if prior is not None else draws),
            constant_data=xr.Dataset(stored),
            observed_data=xr.Dataset({name: ("row", values) for name, values in observed.items()}),
        )
        gates = [{"name": "bulk effective sample", "value": 1000.0, "passed": True}]
        summary = {
            "format": 1, "status": "passed", "law": "abnar", "identity": "ab" * 32,
            "units": units, "gates": gates, "estimates": {},
        }  # fmt: skip
        return Posterior(data, summary)

    return build


@pytest.fixture(scope="session")
def byte_models():
    """Coefficients of Eq. 6, at the scale of small byte models, with an interior best sparsity."""
    return {
        "alpha": 0.45, "beta": 0.40, "gamma": 0.25, "lambda": -0.17, "delta": 0.25,
        "a": 55.0, "b": 118.0, "c": 0.3, "d": 6.0, "e": 0.6,
    }  # fmt: skip
