"""Thousands of rows as some hundred numbers: the same density of a large table at a tenth of the time.

log f(x_i; theta) is smooth in x, so that over all rows i its values lie, for nearly all theta that the prior
makes likely, within 1e-8 or so of a space of a few hundred dimensions. An interpolative decomposition (Cheng,
Gimbutas, Martinsson and Rokhlin 2005) of curves drawn from the prior finds rows to stand for all, the nodes,
and a matrix B with log f(rows) = B log f(nodes). Gravitational-wave astronomy calls it reduced-order
quadrature (Canizares et al. 2015).

The density of `model` needs of the residuals r = y - B g, g = log f(nodes), only their length and their
products with the misfit's functions Phi and with the constant 1. An orthogonal matrix Q whose columns span B,
Phi, 1 and y keeps them all: with r' = Q^T y - Q^T B g, these are |r'|, (Q^T Phi)^T r' and (Q^T 1)^T r'.

It is no approximation to be taken on trust: `Reduction.worst_change` computes, at draws of the posterior,
what it changes in the log density, and where that is too much all rows are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.linalg.interpolative import interp_decomp
from threadpoolctl import threadpool_limits

from moebook.bayes.model import LEVEL, LOSS, Form, _unit_names
from moebook.bayes.priors import Priors
from moebook.bayes.totals import level_prior, totals_of
from moebook.bayes.weights import integrated_density
from moebook.laws import Law

#: Curves that are drawn, and how exactly nodes must give them, relative to the largest.
CURVES, PRECISION = 600, 1e-10
#: Where so large a part of the curves, or of the rows, must be nodes, it does not pay, or curves are too few.
MOST_CURVES, MOST_ROWS = 2 / 3, 1 / 4
#: What the log density may change at a draw of the posterior.
CHANGE = 0.01


@dataclass(frozen=True)
class Reduction:
    """A table's rows reduced: data of `build`, nodes [nodes] and weights B [rows, nodes]; and all the rows:
    columns as the law takes them, log_loss [rows], the misfit's functions phi [rows, functions]."""

    law: Law
    units: Mapping[str, float]
    columns: list[np.ndarray]
    log_loss: np.ndarray
    phi: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    data: dict[str, np.ndarray]

    def worst_change(self, draws: Mapping[str, np.ndarray]) -> float:
        """The largest change of the log density at draws [draws] of totals and scales; NaN where there is
        none."""
        log_curves = _log_curves(self.law, self.units, draws, self.columns)
        by_nodes = log_curves[:, self.nodes] @ self.weights.T
        whole, few = (
            integrated_density(
                self.phi, self.log_loss - curves, draws["discrepancy_scale"], draws["noise_scale"]
            )
            for curves in (log_curves, by_nodes)
        )
        return float(np.abs(few - whole).max())


def reduction(
    law: Law, units: Mapping[str, float], totals: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]
) -> Reduction | None:
    """The rows of `model.data_of` reduced; None where it takes too many nodes to be worth it.

    units: of the law's quantities; totals: {name: draws from the prior [draws]}.
    """
    columns = [data[f"column_{name}"] for name in law.columns]
    rows = len(columns[0])
    drawn = {name: np.asarray(values[:CURVES], dtype=float) for name, values in totals.items()}
    with threadpool_limits(1):  # the same bits however busy the machine is
        curves = _log_curves(law, units, drawn, columns)
        curves = curves[np.isfinite(curves).all(axis=1)]
        if len(curves) < CURVES / 2:
            return None
        curves -= curves.mean(axis=1, keepdims=True)
        curves = np.vstack([curves, np.full(rows, np.abs(curves).max())])  # the level moves all rows alike
        count, order, others = interp_decomp(curves, PRECISION, rand=False)
        if count > min(MOST_CURVES * len(curves), MOST_ROWS * rows):
            return None
        del curves
        weights = np.empty((rows, count))
        weights[order] = np.vstack([np.eye(count), others.T])
        nodes = order[:count]
        phi, ones, observed = data["basis_0"], np.ones(rows), data[LOSS]
        q, _ = np.linalg.qr(np.column_stack([weights, phi, ones, observed]))
        reduced = {
            **{name: values for name, values in data.items() if np.ndim(values) == 0},
            **{f"column_{n}": c[nodes] for n, c in zip(law.columns, columns, strict=True)},
            LOSS: q.T @ observed,
            "rows": np.asarray(float(rows)),
            "ones": q.T @ ones,
            "nodes_to_rows": q.T @ weights,
            **{name: data[name] for name in ("squares_0", "basis_of_level")},
            "basis_0": q.T @ phi,
        }
    return Reduction(law, units, columns, observed, phi, nodes, weights, reduced)


def build(law: Law, priors: Priors, form: Form) -> pm.Model:
    """`model.build` of reduced rows: the same variables, the same density, for the form `reducible`."""
    with pm.Model(coords={"function": np.arange(form.functions)}) as model:
        quantities = [pm.Data(f"column_{name}", np.full(2, 0.5)) for name in law.columns]
        observed, log_level = pm.Data(LOSS, np.zeros(2)), pm.Data(LEVEL, 0.0)
        units = {name: pm.Data(f"unit_{name}", 0.5) for name in _unit_names(law)}
        rows, ones = pm.Data("rows", 2.0), pm.Data("ones", np.ones(2))
        to_rows, phi = pm.Data("nodes_to_rows", np.ones((2, 2))), pm.Data("basis_0", np.ones((2, 2)))
        squares = pm.Data("squares_0", np.ones(2))
        ones_along = pm.Data("basis_of_level", np.ones(2))
        totals = totals_of(law, log_level, priors, level=False)
        curve = law(law.at(units).from_totals(totals), *quantities)
        residual = observed - pt.dot(to_rows, pt.log(curve))
        tau = pm.LogNormal("discrepancy_scale", np.log(priors.discrepancy_median), priors.discrepancy_spread)
        sigma = pm.LogNormal("noise_scale", np.log(priors.noise_median), priors.noise_spread)

        # The formulas of `model`, from products with the residuals.
        noise, misfit = sigma**2, tau**2
        spread = level_prior(law, priors)[1]
        along = pt.dot(phi.T, residual)
        taken = misfit / (noise + misfit * squares)
        square = pt.sum(residual**2) - pt.sum(along**2 * taken)
        determinant = rows * pt.log(2 * np.pi * noise) + pt.sum(pt.log1p(misfit * squares / noise))
        across = (pt.dot(ones, residual) - pt.dot(taken * ones_along, along)) / noise
        precision = (rows - pt.dot(taken * ones_along, ones_along)) / noise + spread**-2
        gained = across**2 / precision - pt.log(precision * spread**2)
        pm.Potential("likelihood", (gained - square / noise - determinant) / 2)

        distance = pm.Normal("level_distance", 0.0, 1.0)
        middle, deviation = across / precision, 1 / pt.sqrt(precision)
        pm.Deterministic("level", totals["level"] * pt.exp(middle + deviation * distance))
    return model


def reducible(priors: Priors, form: Form) -> bool:
    """Whether `build` has the form: normal noise of one scale, no groups, no covariates."""
    return not (priors.robust or form.groups or form.covariates) and form.exponents == 1


def _log_curves(
    law: Law, units: Mapping[str, float], totals: Mapping[str, np.ndarray], columns: list[np.ndarray]
) -> np.ndarray:
    """log f [draws, rows] at totals {name: [draws]}, columns as the model takes them.

    Not a number where a law that is no sum of powers has no loss.
    """
    each = {name: np.asarray(totals[name], dtype=float)[:, None] for name in law.totals}
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.log(law(law.at(units).from_totals(each), *columns))
