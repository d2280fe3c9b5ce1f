"""Simulation-based calibration of one fit: a truth from the prior, runs from the truth, the truth's ranks.

If posteriors are what they say, then among draws from the posterior of runs that were simulated from a truth,
itself drawn from the prior, the truth has a uniform rank (Talts et al. 2018, arXiv 1804.06788), in every
quantity that can be computed from a draw and the runs (Modrak et al. 2023, arXiv 2211.02383). A quantity that
sees the whole model is the likelihood.

The prior is that of the compiled model itself. In a fit it is centred on the mean log loss of the rows; here
on one number, `Setup.log_level`, whatever was simulated: else the prior would have seen the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import arviz as az
import numpy as np
import nutpie
import pymc as pm
import xarray as xr
from threadpoolctl import threadpool_limits

from moebook import laws
from moebook.bayes.assembly import add_weights, constant_data
from moebook.bayes.columns import LOSS
from moebook.bayes.compiled import compiled_model
from moebook.bayes.data import Rows
from moebook.bayes.effects import EXPONENTS
from moebook.bayes.model import DIMS, LEVEL, prior_variables, sampled_names
from moebook.bayes.plants import Plant
from moebook.bayes.posterior import Posterior
from moebook.bayes.prepared import Prepared
from moebook.bayes.priors import Priors
from moebook.bayes.request import Request, Sampler
from moebook.bayes.tested import Quantity
from moebook.bayes.uniformity import rank
from moebook.errors import InputError


@dataclass(frozen=True)
class Chains:
    """How each fit is sampled. More chains are added, `chains` at a time, until every quantity has an
    effective sample of `ranked`, the draws that the truth is ranked among, or there are `most`.

    Chains are shorter than a fit's own (`Sampler`): a rank needs few draws, and many fits are needed.
    """

    ranked: int = 99
    chains: int = 2
    most: int = 8
    draws: int = 400
    tune: int = 500
    target_accept: float = 0.97

    def __post_init__(self) -> None:
        for name in ("ranked", "chains", "most", "draws", "tune"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 2:
                raise InputError(f"chains: {name}: {value!r}: must be a whole number of at least 2")
        if self.chains * self.draws < self.ranked:
            raise InputError(f"chains: ranked: {self.ranked}: more than {self.chains} x {self.draws} draws")
        if not 0 < self.target_accept < 1:
            raise InputError(f"chains: target_accept: {self.target_accept}: must lie between 0 and 1")


@dataclass(frozen=True)
class Setup:
    """What is calibrated.

    rows: the design; their losses say only where the prior's level lies. quantities: what is ranked, each a
    function of a posterior. plant: a bug put in on purpose, which calibration must find.
    """

    law: str
    rows: Rows = field(repr=False)
    priors: Priors
    chains: Chains
    seed: int
    quantities: tuple[Quantity, ...]
    plant: Plant = Plant()

    @property
    def log_level(self) -> float:
        """Median of the logarithm of the prior's level: the design's mean log loss."""
        return float(np.log(self.rows.loss_nats).mean())


@dataclass(frozen=True)
class Ranked:
    """One fit: the truth's rank in each quantity, and how well the fit was sampled.

    effective: smallest bulk effective sample of all draws, rhat the largest R-hat, of totals, scales and
    coefficients; divergences and chains are counts; cpu_seconds: of this process, for this fit.
    """

    number: int
    ranks: dict[str, int]
    divergences: int
    rhat: float
    effective: float
    chains: int
    cpu_seconds: float


class Calibrator:
    """Simulates and fits, one number after the other, with a model that is compiled once."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.law = laws.get(setup.law)
        self.made = Prepared.of(self.law, setup.rows, setup.priors)
        self._names = sampled_names(self.law, setup.priors, self.made.form)
        self._data = self._data_of(setup.rows)

    @cached_property
    def _prior(self) -> _Draws:
        """Draws of the prior of the model itself, one after the other."""
        model, _ = compiled_model(self.law, self.setup.priors, self.made.form)
        variables = prior_variables(model, self.law, self.setup.priors, self.made.form)
        return _Draws(model, variables, self._data[LEVEL], self.setup.seed)

    @cached_property
    def _compiled(self) -> Any:
        """The model that fits; with a planted bug not the one that simulates."""
        model, compiled = compiled_model(self.law, self.setup.plant.of_fit(self.setup.priors), self.made.form)
        with model:
            pm.set_data(self._data)  # chains start where the model's own rows put them: the design's, always
        return compiled

    def truth(self, number: int) -> Posterior:
        """Simulated runs in the place of the design's, with the one draw that made them."""
        drawn = self._prior[number]
        setup, form = self.setup, self.made.form
        generator = np.random.default_rng([setup.seed, number])
        draws = xr.Dataset(
            {name: (("chain", "draw", *DIMS.get(name, ())), v[None, None]) for name, v in drawn.items()}
        )
        weights = generator.standard_normal(form.functions)
        draws["discrepancy_weights"] = ("chain", "draw", "function"), weights[None, None]
        if self.made.scaled:
            draws["noise_exponent"] = ("chain", "draw"), generator.choice(EXPONENTS, size=(1, 1))
        truth = self._posterior(draws, setup.rows)
        mean = np.log(truth.predict(**setup.rows.columns))[0] + truth.shift_of_rows()[0]
        noise = truth.noise(len(mean), seed=int(generator.integers(2**31)), compute_flops=truth.compute_flops)
        return self._posterior(draws, self._rows(mean + setup.plant.noise_factor * noise[0]))

    def posterior(self, truth: Posterior, number: int) -> tuple[Posterior, dict[str, Any]]:
        """`chains.ranked` draws, evenly spaced, given the truth's runs; and how they were sampled."""
        asked, rows = self.setup.chains, self._rows(np.log(truth.rows[LOSS]))
        compiled = self._compiled.with_data(**self._data_of(rows))
        generator = np.random.default_rng([self.setup.seed, number, 1])
        traces: list[az.InferenceData] = []
        judged: dict[str, Any] = {"effective": 0.0}
        while judged["effective"] < asked.ranked and len(traces) * asked.chains < asked.most:
            traces.append(_sample(compiled, asked, int(generator.integers(2**31))))
            judged = self._judge(traces)
        kept = np.linspace(0, judged["chains"] * asked.draws - 1, asked.ranked).round().astype(int)
        draws = xr.Dataset(
            {
                name: (("chain", "draw", *DIMS.get(name, ())), _flat(traces, name)[None, kept])
                for name in (*self._names, *(["discrepancy_weights"] if self.setup.priors.robust else []))
            }
        )
        posterior = self._posterior(draws, rows)
        if not self.setup.priors.robust:
            add_weights(posterior, self.made, int(generator.integers(2**31)))
        return posterior, judged

    def fit(self, number: int) -> Ranked:
        """Simulate, fit and rank; the same number gives the same ranks."""
        self._prior, self._compiled  # noqa: B018  compiled before the clock starts
        start = time.process_time()
        truth = self.truth(number)
        posterior, judged = self.posterior(truth, number)
        generator = np.random.default_rng([self.setup.seed, number, 2])
        ranks = {}
        for quantity in self.setup.quantities:
            true, drawn = quantity(truth), quantity(posterior)
            for name, draws in drawn.items():
                try:
                    ranks[name] = rank(true[name].item(), draws, generator)
                except ValueError as error:
                    raise ArithmeticError(f"fit {number}: {name}: {error}") from error
        return Ranked(number, ranks, **judged, cpu_seconds=time.process_time() - start)

    def _rows(self, log_loss: np.ndarray) -> Rows:
        """The design with other losses."""
        return replace(self.setup.rows, loss_nats=np.exp(log_loss))

    def _data_of(self, rows: Rows) -> dict[str, np.ndarray]:
        """The rows as the model's data, the prior's level where it is in every simulation."""
        return {**self.made.data(self.law, rows), LEVEL: np.asarray(self.setup.log_level)}

    def _posterior(self, draws: xr.Dataset, rows: Rows) -> Posterior:
        """Draws and rows in the form that every answer is computed from."""
        asked = Request(rows, self.law, self.setup.priors, Sampler(), self.setup.seed, {})
        observed = xr.Dataset({n: ("row", v) for n, v in {**rows.columns, LOSS: rows.loss_nats}.items()})
        data = az.InferenceData(
            posterior=draws, constant_data=constant_data(asked, self.made), observed_data=observed
        )
        return Posterior(data, {"status": "simulated", "law": self.law.name, "units": self.made.units})

    def _judge(self, traces: list[az.InferenceData]) -> dict[str, Any]:
        """How well all chains together were sampled."""
        draws = {n: np.concatenate([t.posterior[n].values for t in traces]) for n in self._names}
        raw = self.law.plain_coefficients({n: draws[n] for n in self.law.totals}, self.made.units)
        draws |= {n: values for n, values in raw.items() if n not in draws and np.ptp(values) > 0}
        members = [v.reshape(*v.shape[:2], -1)[:, :, i] for v in draws.values() for i in range(v[0, 0].size)]
        with np.errstate(invalid="ignore"):  # a chain that stands still: effective sample 0, R-hat 1e9
            effective = min(float(np.nan_to_num(az.ess(values))) for values in members)
            rhat = max(float(np.nan_to_num(az.rhat(values), nan=1e9)) for values in members)
        return {
            "divergences": int(sum(t.sample_stats.diverging.values.sum() for t in traces)),
            "rhat": rhat,
            "effective": effective,
            "chains": len(members[0]),
        }


class _Draws:
    """Draws of a model's prior, made as they are asked for; the i-th is the same however many there are."""

    def __init__(self, model: pm.Model, variables: dict[str, Any], level: np.ndarray, seed: int) -> None:
        self._next: Callable[[], list[np.ndarray]] = pm.compile([], [*variables.values()], random_seed=seed)
        self._model, self._level = model, level
        self._names, self._made = tuple(variables), []

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        with self._model:
            pm.set_data({LEVEL: self._level})  # the model is shared with whoever else fits this law
        while len(self._made) <= number:
            self._made.append([np.array(value, dtype=float) for value in self._next()])
        return dict(zip(self._names, self._made[number], strict=True))


def _sample(compiled: Any, asked: Chains, seed: int) -> az.InferenceData:
    """Draws of nutpie on one core: processes share the work, not threads."""
    with threadpool_limits(1):
        return nutpie.sample(
            compiled, draws=asked.draws, tune=asked.tune, chains=asked.chains, cores=1, seed=seed,
            target_accept=asked.target_accept, save_warmup=False, progress_bar=False,
        )  # fmt: skip


def _flat(traces: list[az.InferenceData], name: str) -> np.ndarray:
    """Draws of all chains, one chain after the other [draws, ...]."""
    values = np.concatenate([trace.posterior[name].values for trace in traces])
    return values.reshape(-1, *values.shape[2:])
