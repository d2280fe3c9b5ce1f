"""Posteriors made by hand: draws around chosen coefficients of Chinchilla's law; answers are known."""

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from moebook import laws
from moebook.bayes import Posterior, request
from moebook.bayes.discrepancy import fitted_basis

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
NOISE = 0.01


def made_runs(seed=0, budgets=(1e18, 1e19, 1e20, 1e21), noise=NOISE, **changes) -> pd.DataFrame:
    """Runs of the law at seven sizes a budget, with normal noise on log loss."""
    law = laws.get("chinchilla")
    size, compute = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 2e9, 7), budgets))
    table = pd.DataFrame({"params": size, "tokens": compute / 6 / size})
    spread = np.exp(noise * np.random.default_rng(seed).standard_normal(len(table)))
    return table.assign(loss=law({**TRUTH, **changes}, table.params, table.tokens) * spread)


def made_posterior(
    table: pd.DataFrame, noise=NOISE, spread=0.0, draws=500, seed=0, misfit=1e-9, tail=None, **changes
) -> Posterior:
    """Draws at TRUTH with `changes`, all amplitudes spread by a common relative `spread`; misfit: its scale;
    tail: of Student-t noise, else it is normal."""
    law = laws.get("chinchilla")
    asked = request(table, law, source="made")
    rows, points = asked.rows, asked.rows.points
    values = rows.ordered(law)
    units = law.units(*values)
    basis = fitted_basis(law.columns, values, 4, 1.5, 0.5)
    rng = np.random.default_rng(seed)
    k = {name: np.full((2, draws), value) for name, value in {**TRUTH, **changes}.items()}
    shift = np.exp(spread * rng.standard_normal((2, draws)))
    k |= {name: k[name] * shift for name in ("E", "A", "B")}
    size, data = (k[a] / units[q] ** k[e] for a, q, e in (("A", "params", "alpha"), ("B", "tokens", "beta")))
    level = k["E"] + size + data
    totals = {
        "level": level, "data_share": data / level, "floor_of_rest": k["E"] / (k["E"] + size),
        "alpha": k["alpha"], "beta": k["beta"],
    }  # fmt: skip
    scalars = {"discrepancy_scale": misfit, "noise_scale": noise} | ({"tail": tail} if tail else {})
    drawn = {**totals, **{name: np.full((2, draws), value) for name, value in scalars.items()}}
    posterior = xr.Dataset({name: (("chain", "draw"), value) for name, value in drawn.items()})
    prior = posterior.copy()
    posterior["discrepancy_weights"] = (("chain", "draw", "function"), np.zeros((2, draws, 8)))
    constant = xr.Dataset(
        {
            "centre": ("axis", basis.centre), "scale": ("axis", basis.scale),
            "frequencies": (("pair", "axis"), basis.frequencies),
            "rotation": (("raw_function", "function"), basis.rotation),
            "row_number": ("row", points.numbers), "compute_flops": ("row", points.compute_flops),
        }
    )  # fmt: skip
    observed = xr.Dataset({n: ("row", v) for n, v in {**rows.columns, "loss_nats": rows.loss_nats}.items()})
    summary = {
        "format": 1, "status": "passed", "law": law.name, "identity": f"{seed:02x}" * 32, "units": units,
        "gates": [], "rows": len(rows), "excluded": {}, "estimates": {}, **asked.reading(),
    }  # fmt: skip
    data = az.InferenceData(posterior=posterior, prior=prior, constant_data=constant, observed_data=observed)
    return Posterior(data, summary)
