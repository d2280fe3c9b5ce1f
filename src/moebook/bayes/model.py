"""The probability model: a law in totals and shares, misfit that grows away from the rows, noise on log loss.

    log L_i = log f(N_i/N0, D_i/D0, (1-S_i)/U0; totals) + shift_i + tau phi(z_i) w + noise_i
    w ~ Normal(0, I)

f is the law; N0, D0 and U0 are geometric means over the fitted rows (a law that is no sum of powers takes the
plain columns and has these means in its totals); phi is the basis of `discrepancy`, rotated so that its
functions are orthogonal over the rows. shift_i, where a table is pooled or carries covariates, is
offset[group_i] + sum_c (linear_c x_ic + square_c x_ic^2), with offsets that sum to zero and a common scale.

Noise is Normal(0, sigma), and then the weights w are integrated out; or, robust to outliers,
StudentT(1 / tail, 0, sigma), and then they are sampled. Replicates of a cell share phi, so that only noise
tells them apart: where there are any, they decide sigma.

With normal noise and s_j = |phi_j|^2 the covariance of the rows is sigma^2 I + tau^2 Phi Phi^T. Since Phi has
orthogonal columns, its determinant and its inverse need no factorisation: r the residuals of the law,

    -2 log p = n log(2 pi sigma^2) + sum_j log(1 + tau^2 s_j / sigma^2)
               + (|r|^2 - sum_j (phi_j r)^2 tau^2 / (sigma^2 + tau^2 s_j)) / sigma^2,

and w_j given all else is normal, one j at a time (`weights.conditional_weights`).

The level is a factor of every law, so that its logarithm, with a normal prior, is integrated out the same
way: a constant added to all rows. It is sampled as v, its distance from where the rest of a draw puts it,
which is standard normal whatever the rest: else level and misfit make a funnel at small tau.

Noise may change with compute, Normal(0, sigma v_i), v_i = (C_i / C0)^-h: h is one of a few values, each with
the rows divided by v and a rotation of its own, and the likelihood is the mean over them: h is integrated
out as well, and drawn afterwards.

The rows are data of the model, so that it is compiled once for a law and used for many tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from moebook.bayes.discrepancy import Basis
from moebook.bayes.priors import Priors
from moebook.bayes.totals import level_prior, totals_of
from moebook.laws import Law

LOSS, LEVEL, GROUP, COVARIATES = "log_loss", "log_level", "group_of_row", "covariates"
#: Sampled arrays: what they run over.
DIMS = {
    "group_offset": ("group",),
    "covariate_linear": ("covariate",),
    "covariate_square": ("covariate",),
}


@dataclass(frozen=True)
class Form:
    """What a model's graph depends on beside law and priors: its numbers of basis functions, of groups of
    rows, of covariates, and of values that the noise's exponent may take."""

    functions: int
    groups: int = 0
    covariates: int = 0
    exponents: int = 1


def sampled_names(law: Law, priors: Priors, form: Form) -> tuple[str, ...]:
    """Names of what is sampled and kept, the misfit's weights apart: totals, scales, and `DIMS` as needed."""
    return (
        *law.totals,
        "discrepancy_scale",
        "noise_scale",
        *(["tail"] if priors.robust else []),
        *(["group_scale", "group_offset"] if form.groups else []),
        *(["covariate_linear", "covariate_square"] if form.covariates else []),
    )


def integrates_level(priors: Priors, form: Form) -> bool:
    """Whether the level is integrated out: with normal noise of one scale."""
    return not priors.robust and form.exponents == 1


def build(law: Law, priors: Priors, form: Form) -> pm.Model:
    """The PyMC model of a law; its rows are set by `data_of`."""
    with pm.Model(coords={"function": np.arange(form.functions)}) as model:
        quantities = [pm.Data(f"column_{name}", np.full(2, 0.5)) for name in law.columns]
        observed, log_level = pm.Data(LOSS, np.zeros(2)), pm.Data(LEVEL, 0.0)
        units = {name: pm.Data(f"unit_{name}", 0.5) for name in _unit_names(law)}
        integrated = integrates_level(priors, form)
        totals = totals_of(law, log_level, priors, level=not integrated)
        curve = law(law.at(units).from_totals(totals), *quantities)
        residual = observed - pt.log(curve) - _shift(form, priors)
        tau = pm.LogNormal("discrepancy_scale", np.log(priors.discrepancy_median), priors.discrepancy_spread)
        sigma = pm.LogNormal("noise_scale", np.log(priors.noise_median), priors.noise_spread)
        if priors.robust:
            phi, squares = _rows_of(form, 0)
            tail = pm.Uniform("tail", 0.0, priors.tail_limit)
            misfit = tau * pt.dot(phi, _sampled_weights(phi, squares, residual, tau, sigma, tail))
            noise = pm.StudentT.dist(nu=1 / tail, mu=0.0, sigma=sigma)
            pm.Potential("likelihood", pt.sum(pm.logp(noise, residual - misfit)))
        elif integrated:
            phi, squares = _rows_of(form, 0)
            ones = pm.Data("basis_of_level", np.ones(form.functions))
            spread = level_prior(law, priors)[1]
            density, middle, deviation = _integrated_with_level(
                phi, squares, ones, residual, tau, sigma, spread
            )
            pm.Potential("likelihood", density)
            distance = pm.Normal("level_distance", 0.0, 1.0)
            pm.Deterministic("level", totals["level"] * pt.exp(middle + deviation * distance))
        else:
            each = []
            for number in range(form.exponents):
                phi, squares = _rows_of(form, number)
                scale = pm.Data(f"noise_of_row_{number}", np.ones(2))
                density = _integrated(phi, squares, residual / scale, tau, sigma)
                each.append(density - pt.sum(pt.log(scale)))
            mean = each[0] if len(each) == 1 else pt.logsumexp(pt.stack(each)) - np.log(len(each))
            pm.Potential("likelihood", mean)
    return model


def prior_variables(
    model: pm.Model, law: Law, priors: Priors, form: Form
) -> dict[str, pt.TensorVariable]:
    """{name of `sampled_names`: variable whose draws are from the prior}; the model's own level is
    conditional on the rows."""
    variables = {name: model[name] for name in sampled_names(law, priors, form)}
    median, spread = level_prior(law, priors)
    return variables | {"level": pm.LogNormal.dist(model[LEVEL] + np.log(median), spread)}


def _unit_names(law: Law) -> list[str]:
    """The quantities whose units the law takes with its totals."""
    if not law.by_units:
        return []
    return ["used" if name == "sparsity" else name for name in law.columns]


def _shift(form: Form, priors: Priors) -> pt.TensorVariable | float:
    """What groups and covariates add to log loss [rows]."""
    shift: pt.TensorVariable | float = 0.0
    if form.groups:
        row = pm.Data(GROUP, np.zeros(2, dtype=int))
        scale = pm.LogNormal("group_scale", np.log(priors.group_median), priors.group_spread)
        # Offsets that sum to zero leave the level to the level: else the two are a ridge.
        shift += pm.ZeroSumNormal("group_offset", sigma=scale, shape=form.groups)[row]
    if form.covariates:
        x = pm.Data(COVARIATES, np.zeros((2, form.covariates)))
        for name, values in (("covariate_linear", x), ("covariate_square", x**2)):
            shift += pt.dot(values, pm.Normal(name, 0.0, priors.covariate_spread, shape=form.covariates))
    return shift


def _rows_of(form: Form, number: int) -> tuple[pt.TensorVariable, ...]:
    """(phi [rows, functions], its squared lengths [functions]) at one exponent of the noise."""
    phi = pm.Data(f"basis_{number}", np.ones((2, form.functions)))
    return phi, pm.Data(f"squares_{number}", np.ones(form.functions))


def data_of(
    law: Law,
    columns: list[np.ndarray],
    loss_nats: np.ndarray,
    units: Mapping[str, float],
    basis: Basis,
    *,
    group: np.ndarray | None = None,
    covariates: np.ndarray | None = None,
    scaled: list[tuple[np.ndarray, np.ndarray]] | None = None,
    level: bool = True,
) -> dict[str, np.ndarray]:
    """The rows as the model's data: columns [rows] in the law's order, loss_nats [rows].

    group: which of the groups each row is in [rows]; covariates [rows, covariates]; scaled: for each exponent
    of the noise (phi / v rotated [rows, functions], v [rows]); without it the noise is one everywhere;
    level: whether the model integrates the level out.
    """
    log_loss = np.log(loss_nats)
    quantities = law.in_units(units, *columns)
    data = {
        **{f"column_{name}": values for name, values in zip(law.columns, quantities, strict=True)},
        **{f"unit_{name}": np.asarray(units[name]) for name in _unit_names(law)},
        LOSS: log_loss,
        LEVEL: np.asarray(log_loss.mean()),
    }
    if group is not None:
        data[GROUP] = group
    if covariates is not None:
        data[COVARIATES] = covariates
    for number, (phi, scale) in enumerate(scaled or [(basis(*columns), None)]):
        data[f"basis_{number}"], data[f"squares_{number}"] = phi, (phi**2).sum(axis=0)
        if scale is not None:
            data[f"noise_of_row_{number}"] = scale
    if level:
        data["basis_of_level"] = phi.sum(axis=0)
    return data


def _integrated(
    phi: pt.TensorVariable,
    squares: pt.TensorVariable,
    residual: pt.TensorVariable,
    tau: pt.TensorVariable,
    sigma: pt.TensorVariable,
) -> pt.TensorVariable:
    """Log density of the rows with normal noise, weights integrated out (the formula above)."""
    noise, misfit = sigma**2, tau**2
    along = pt.dot(phi.T, residual)
    square = pt.sum(residual**2) - pt.sum(along**2 * misfit / (noise + misfit * squares))
    rows = residual.shape[0]
    determinant = rows * pt.log(2 * np.pi * noise) + pt.sum(pt.log1p(misfit * squares / noise))
    return -(square / noise + determinant) / 2


def _integrated_with_level(
    phi: pt.TensorVariable,
    squares: pt.TensorVariable,
    ones: pt.TensorVariable,
    residual: pt.TensorVariable,
    tau: pt.TensorVariable,
    sigma: pt.TensorVariable,
    spread: float,
) -> tuple[pt.TensorVariable, ...]:
    """(log density of the rows, weights and a common constant ~ Normal(0, spread) integrated out; mean and
    standard deviation of that constant given the rest). ones: the basis summed over the rows [functions].

    With P the inverse of sigma^2 I + tau^2 Phi Phi^T and 1 the constant, a rank-one update of `_integrated`:
    -2 log p gains log(1 + spread^2 1P1) - (1Pr)^2 / (1P1 + spread^-2).
    """
    noise = sigma**2
    shared = tau**2 / (noise + tau**2 * squares) * ones
    across = (pt.sum(residual) - pt.dot(shared, pt.dot(phi.T, residual))) / noise
    precision = (residual.shape[0] - pt.dot(shared, ones)) / noise + spread**-2
    gained = across**2 / precision - pt.log(precision * spread**2)
    density = _integrated(phi, squares, residual, tau, sigma) + gained / 2
    return density, across / precision, 1 / pt.sqrt(precision)


def _sampled_weights(
    phi: pt.TensorVariable,
    squares: pt.TensorVariable,
    residual: pt.TensorVariable,
    tau: pt.TensorVariable,
    sigma: pt.TensorVariable,
    tail: pt.TensorVariable,
) -> pt.TensorVariable:
    """w ~ Normal(0, I), sampled as its distance from where the residuals of the law put it.

    Were the noise normal, w_j given all else would be normal with the mean and standard deviation below, one
    j at a time, since the columns of phi are orthogonal. The distance v in units of these hardly depends on
    law or scales, whether the data see direction j well or not at all: no funnel at a small tau, none at a
    large one. dw/dv and the prior of w enter as a potential.
    """
    variance = sigma**2 * (1 + 3 * tail) / (1 + tail)  # that of the normal with the Student-t's information
    spread = pt.sqrt(variance / (tau**2 * squares + variance))
    v = pm.Normal("discrepancy_distance", 0.0, 1.0, dims="function")
    w = tau * pt.dot(phi.T, residual) / (tau**2 * squares + variance) + spread * v
    pm.Potential("prior_of_weights", pt.sum((v**2 - w**2) / 2 + pt.log(spread)))
    return pm.Deterministic("discrepancy_weights", w, dims="function")
