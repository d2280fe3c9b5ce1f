"""From a trace to a posterior: gates on all draws, a thinned copy to keep, estimates and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from moebook import laws
from moebook.bayes import checks, gates
from moebook.bayes.columns import LOSS
from moebook.bayes.discrepancy import axis
from moebook.bayes.effects import EXPONENTS, Effects
from moebook.bayes.model import sampled_names
from moebook.bayes.posterior import Posterior
from moebook.bayes.prepared import Prepared
from moebook.bayes.request import Request
from moebook.bayes.sensitivity import sensitivity
from moebook.bayes.weights import conditional, conditional_weights, drawn_exponents

SCALES = ("discrepancy_scale", "noise_scale", "tail", "group_scale")


def assemble(
    trace: az.InferenceData, prior: xr.Dataset, asked: Request, made: Prepared, excluded: dict[str, int]
) -> Posterior:
    """Judge the whole trace, thin it, and describe it."""
    law, rows, sampler = asked.law, asked.rows, asked.sampler
    names = list(sampled_names(law, asked.priors, made.form))
    full = _by_name({name: trace.posterior[name].values for name in names}, rows.effects)
    cited = {**full, **_coefficients(law, full, made.units)}
    mixed = {}
    if asked.priors.robust:
        weights = trace.posterior["discrepancy_weights"].values
        mixed = {f"discrepancy_weights[{i}]": weights[:, :, i] for i in range(weights.shape[2])}
    judged = gates.judge(cited, mixed, trace.sample_stats.diverging.values, trace.sample_stats.energy.values)

    drawn = trace.posterior.sizes["draw"]
    kept = np.unique(np.linspace(0, drawn - 1, min(sampler.stored, drawn)).round().astype(int))
    thinned = xr.Dataset(
        {n: (prior[n].dims, trace.posterior[n].values[:, kept].astype(np.float32)) for n in names}
    )
    if asked.priors.robust:
        thinned["discrepancy_weights"] = ("chain", "draw", "function"), weights[:, kept].astype(np.float32)
    summary = {
        "format": 1,
        "law": law.name,
        "identity": asked.identity,
        "ingredients": asked.ingredients,
        "status": "passed" if all(gate.passed for gate in judged) else "failed",
        "gates": [asdict(gate) for gate in judged],
        "draws": {"chains": trace.posterior.sizes["chain"], "each": drawn},
        "rows": len(rows),
        "excluded": excluded,
        **asked.reading(),
        "units": made.units,
        "ranges": {
            n: [float(v.min()), float(v.max())] for n, v in {**rows.columns, LOSS: rows.loss_nats}.items()
        },
    }
    observed = xr.Dataset({n: ("row", v) for n, v in {**rows.columns, LOSS: rows.loss_nats}.items()})
    data = az.InferenceData(
        posterior=thinned, prior=prior, constant_data=constant_data(asked, made), observed_data=observed
    )
    posterior = Posterior(data, summary)
    if not asked.priors.robust:
        add_weights(posterior, made, asked.seed)
    # Coordinates last, as they are read: a posterior that was loaded is stored as the same bytes.
    data.posterior = data.posterior.assign_coords(chain=np.arange(sampler.chains), draw=np.arange(len(kept)))
    summary["checks"] = _checked(posterior, asked)
    before = _by_name({n: prior[n].values.astype(float) for n in names}, rows.effects)
    before |= _coefficients(law, before, made.units)
    summary["estimates"] = {n: _estimate(n, law, draws, before[n]) for n, draws in cited.items()}
    if made.level and not (rows.effects.groups or rows.effects.covariates):
        kept_names = [*law.totals, "discrepancy_scale", "noise_scale"]
        summary["sensitivity"] = sensitivity(posterior, {n: posterior.draws(n) for n in kept_names})
    if made.scaled:
        summary["noise_by_compute"] = _exponents(posterior)
    return posterior


def constant_data(asked: Request, made: Prepared) -> xr.Dataset:
    """What a posterior needs beside its draws: the basis, and what the fitted rows are."""
    basis, points, effects = made.basis, asked.rows.points, asked.rows.effects
    constant = xr.Dataset(
        {
            "centre": ("axis", basis.centre),
            "scale": ("axis", basis.scale),
            "frequencies": (("pair", "axis"), basis.frequencies),
            "rotation": (("raw_function", "function"), basis.rotation),
            "growth": ((), basis.growth),
        }
    )
    constant["row_number"] = ("row", points.numbers.astype(np.int32))
    if points.compute_flops is not None:
        constant["compute_flops"] = ("row", points.compute_flops)
    if effects.group_of_row is not None:
        constant["group_of_row"] = ("row", effects.group_of_row.astype(np.int32))
        constant = constant.assign_coords(group=np.array(effects.groups))
    if effects.covariates:
        constant["covariate_of_row"] = (("row", "covariate"), effects.matrix())
        constant = constant.assign_coords(covariate=np.array(list(effects.covariates)))
    return constant


def add_weights(posterior: Posterior, made: Prepared, seed: int) -> None:
    """The misfit's weights, and the noise's exponent, which sampling left out, from their distributions."""
    residual = posterior.residual(misfit=False)
    tau, sigma = posterior.draws("discrepancy_scale"), posterior.draws("noise_scale")
    draws = posterior.data.posterior
    shape = draws.sizes["chain"], draws.sizes["draw"]
    if not made.scaled:
        phi = made.basis(*(posterior.rows[name] for name in posterior.law.columns))
        weights = conditional_weights(phi, residual, tau, sigma, seed)
    else:
        chosen = drawn_exponents([(phi, v) for phi, v, _ in made.scaled], residual, tau, sigma, seed)
        # One set of normals for all draws: each exponent has some of the draws, and they are independent.
        normals = np.random.default_rng([seed, 3]).standard_normal((len(tau), made.form.functions))
        weights = np.empty_like(normals)
        for i, (phi, noise, rotation) in enumerate(made.scaled):
            of = chosen == i
            mean, variance = conditional(phi, residual[of] / noise, tau[of], sigma[of])
            found = mean + np.sqrt(variance) * normals[of]
            weights[of] = found @ rotation.T @ made.basis.rotation
        draws["noise_exponent"] = ("chain", "draw"), EXPONENTS[chosen].reshape(shape).astype(np.float32)
    draws["discrepancy_weights"] = (
        ("chain", "draw", "function"), weights.reshape(*shape, -1).astype(np.float32)
    )  # fmt: skip


def _checked(posterior: Posterior, asked: Request) -> dict[str, Any]:
    """Prior and posterior predictive checks of the fitted rows."""
    rows = asked.rows
    compute = rows.points.compute_flops
    curve, noisy = {}, {}
    for group in ("prior", "posterior"):
        surface = posterior.surface(**rows.columns, group=group)
        with np.errstate(invalid="ignore"):  # `prior_predictive` counts the losses below zero
            curve[group] = np.log(surface(slice(None))) + posterior.shift_of_rows(group)
        noisy[group] = curve[group] + posterior.noise(len(rows), group, asked.seed, compute)
    axes = {name: axis(name, v) for name, v in rows.columns.items()}
    return {
        "prior_predictive": checks.prior_predictive(noisy["prior"], rows.loss_nats),
        "posterior_predictive": checks.posterior_predictive(
            curve["posterior"], noisy["posterior"], rows.loss_nats, axes
        ),
    }


def _by_name(draws: Mapping[str, np.ndarray], effects: Effects) -> dict[str, np.ndarray]:
    """{name: [chains, draws]}; arrays by their members, as in `group_offset[books]`."""
    labels = {
        "group_offset": effects.groups,
        "covariate_linear": tuple(effects.covariates),
        "covariate_square": tuple(effects.covariates),
    }
    named = {}
    for name, values in draws.items():
        if name in labels:
            named |= {f"{name}[{label}]": values[:, :, i] for i, label in enumerate(labels[name])}
        else:
            named[name] = values
    return named


def _coefficients(
    law: laws.Law, totals: Mapping[str, np.ndarray], units: dict[str, float]
) -> dict[str, np.ndarray]:
    """Raw coefficients that are not totals themselves, and what they make together."""
    raw = law.plain_coefficients({name: totals[name] for name in law.totals}, units)
    return {name: values for name, values in raw.items() if name not in totals and np.ptp(values) > 0}


def _exponents(posterior: Posterior) -> dict[str, float]:
    """Probability of each exponent h of the noise, sigma (C / C0)^-h."""
    drawn = posterior.draws("noise_exponent")
    return {f"{h:+.1f}": float(np.mean(np.isclose(drawn, h, atol=1e-3))) for h in EXPONENTS}


def _estimate(name: str, law: laws.Law, draws: np.ndarray, prior: np.ndarray) -> dict[str, Any]:
    """Location, spread, precision and what the data taught; draws and prior [chains, draws]."""
    logs = name in law.power_of or name in SCALES  # these span decades: their spread is one of logs
    spread = (np.log(prior), np.log(draws)) if logs else (prior, draws)
    contraction = checks.contraction(*spread)
    quantiles = {f"q{p:02d}": float(np.percentile(draws, p)) for p in (5, 25, 50, 75, 95)}
    return {
        **quantiles,
        "mean": float(draws.mean()),
        "sd": float(draws.std()),
        "mcse_q05": float(az.mcse(draws, method="quantile", prob=0.05)),
        "mcse_q50": float(az.mcse(draws, method="median")),
        "mcse_q95": float(az.mcse(draws, method="quantile", prob=0.95)),
        "ess_bulk": float(az.ess(draws, method="bulk")),
        "ess_tail": float(az.ess(draws, method="tail")),
        "rhat": float(az.rhat(draws)),
        "contraction": contraction,
        "identified": contraction >= checks.IDENTIFIED_FROM,
    }
