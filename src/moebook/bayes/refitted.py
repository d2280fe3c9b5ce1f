"""The numbers that `refits` keeps of one part of a table: point fits, posteriors, comparison, forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook import laws
from moebook.bayes.bootstrap import HUBER, fit_point
from moebook.bayes.comparison import compare
from moebook.bayes.doubts import budgets
from moebook.bayes.identity import identity
from moebook.bayes.mixture import Mixture
from moebook.bayes.point import LN_10, PointFit, bootstrap, point_fit
from moebook.bayes.prediction import forecast
from moebook.bayes.request import Sampler, request
from moebook.files import sha256_hex

if TYPE_CHECKING:
    import pandas

    from moebook.bayes.posterior import Posterior

ENDS = (0.05, 0.5, 0.95)
SIZES = 64  # between the smallest and the largest run of a budget
EDGE = 0.25


@dataclass(frozen=True)
class Settings:
    """starts: of a point fit by least squares; bootstraps: fits to rows drawn again; seed: of all that is
    drawn; sampler: of the posteriors."""

    starts: int = 8
    bootstraps: int = 400
    seed: int = 0
    sampler: Sampler = field(default_factory=Sampler)


@dataclass(frozen=True)
class Part:
    """Rows and the laws to draw through them.

    huber: fit by Huber's function, as Hoffmann et al., else by least squares, as Clark et al.; printed:
    {law: {coefficient: as the source prints it}}; held_out [rows]: runs to forecast from the others with the
    last of the laws.
    """

    name: str
    rows: pandas.DataFrame
    laws: tuple[str, ...]
    huber: bool
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    held_out: np.ndarray | None = None

    def identity(self, settings: Settings) -> str:
        """sha256 of what decides the posteriors and what is made of them: rows, laws, model, settings, lock,
        sources. (Point fits are made again in a moment: tests compare them with what is stored.)"""
        asked = [request(self.rows, law, seed=settings.seed, sampler=settings.sampler) for law in self.laws]
        held = [] if self.held_out is None else np.flatnonzero(self.held_out).tolist()
        sources = ["refitted.py"]
        sources += ["comparison.py"] if len(self.laws) > 1 else []
        sources += ["mixture.py", "prediction.py"] if held else []
        folder = Path(__file__).parent
        return identity(
            {
                "fits": [one.ingredients for one in asked],
                "huber": self.huber,
                "held_out": held,
                "printed": {law: dict(values) for law, values in self.printed.items()},
                "settings": asdict(settings),
                "sources": {name: sha256_hex((folder / name).read_text("utf-8")) for name in sources},
            }
        )


def fit_part(part: Part, settings: Settings) -> dict[str, Any]:
    """All that is kept of a part: rows, `fits` by law, `comparison` where there are several laws, and
    `held_out` where runs are held out."""
    fits, posteriors = {}, {}
    for name in part.laws:
        posteriors[name] = _sampled(part.rows, name, settings)
        fits[name] = {
            "point": point_of(part, name, settings)[0], "posterior": described(posteriors[name])
        }  # fmt: skip
    found: dict[str, Any] = {"rows": len(part.rows), "fits": fits}
    if len(posteriors) > 1 and all(p.passed for p in posteriors.values()):
        found["comparison"] = compared(posteriors)
    if part.held_out is not None:
        found["held_out"] = held_out(part, settings)
    return found


def point_of(part: Part, name: str, settings: Settings) -> tuple[dict[str, Any], PointFit]:
    """A point fit beside what is printed, and the fit itself.

    coefficients {name: value, error, low, high (of 90 % of the bootstraps), printed, apart (of the printed
    value, in standard errors)}; rmse_log10 of log10 loss, and of the printed coefficients on the same rows;
    residual_sd of log loss; best_size: the power of compute with which the law's best size grows, beta /
    (alpha + beta) for C = 6 N D.
    """
    law = laws.get(name)
    fit = _point(law, part.rows, part.huber, settings)
    draws = _bootstrapped(fit, part.rows, part.huber, settings)
    printed = part.printed.get(name, {})
    coefficients = {}
    for key, value in fit.coefficients.items():
        low, high = np.quantile(draws[key], [ENDS[0], ENDS[-1]])
        one = {"value": value, "error": fit.standard_errors[key], "low": float(low), "high": float(high)}
        if key in printed:
            one |= {"printed": printed[key], "apart": (printed[key] - value) / one["error"]}
        coefficients[key] = one
    found = {
        "coefficients": coefficients, "rmse_log10": fit.rmse, "residual_sd": fit.rmse * LN_10,
        "agreeing": fit.agreeing,
    }  # fmt: skip
    if printed:
        columns = (part.rows[column].to_numpy(float) for column in law.columns)
        off = np.log10(part.rows["loss_nats"].to_numpy(float) / law(printed, *columns))
        found["rmse_log10_printed"] = float(np.sqrt(np.mean(off**2)))
    if "beta" in draws:
        value, boots = (k["beta"] / (k["alpha"] + k["beta"]) for k in (fit.coefficients, draws))
        low, high = np.quantile(boots, [ENDS[0], ENDS[-1]]).tolist()
        found["best_size"] = {"value": value, "low": low, "high": high}
    return found, fit


def best_size(posterior: Posterior) -> dict[str, Any] | None:
    """The power of compute with which the best size grows, of the whole loss with its misfit, for C = 6 N D.

    Of each draw, the best among the sizes run at each budget; a line through their logarithms. Budgets whose
    best size lies at the end of their sizes in more than EDGE of the draws do not count: `budgets` and
    `dropped` say how many. None where fewer than three count.
    """
    compute, params = posterior.compute_flops, posterior.rows["params"]
    if compute is None:
        return None
    labels, log_flops, log_sizes, dropped = budgets(compute), [], [], 0
    for budget in range(labels.max() + 1):
        run = params[labels == budget]
        flops = np.exp(np.log(compute[labels == budget]).mean())
        sizes = np.geomspace(run.min(), run.max(), SIZES)
        best = posterior.surface(params=sizes, tokens=flops / (6 * sizes))(slice(None)).argmin(axis=1)
        if np.mean((best == 0) | (best == SIZES - 1)) > EDGE:
            dropped += 1
        else:
            log_flops.append(np.log(flops))
            log_sizes.append(np.log(sizes)[best])
    if len(log_flops) < 3:
        return None
    x = np.array(log_flops) - np.mean(log_flops)
    return {**_ends(x @ np.array(log_sizes) / (x @ x)), "budgets": len(x), "dropped": dropped}


def described(posterior: Posterior) -> dict[str, Any]:
    """status, gates, and of a posterior that passed: `quantities` {name: q05, q50, q95, their Monte Carlo
    errors, identified}, `misfit`: its standard deviation over the rows, on log loss, and `best_size`."""
    found = {
        "identity": posterior.identity, "status": posterior.summary["status"],
        "gates": posterior.summary["gates"],
    }  # fmt: skip
    if not posterior.passed:
        return found
    wanted = ("q05", "q50", "q95", "mcse_q05", "mcse_q50", "mcse_q95", "identified")
    estimates = posterior.summary["estimates"]
    found["quantities"] = {name: {key: e[key] for key in wanted} for name, e in estimates.items()}
    misfit = posterior.residual(misfit=False) - posterior.residual(misfit=True)
    found["misfit"] = _ends(misfit.std(axis=1))
    if posterior.law.name == "chinchilla":
        found["best_size"] = best_size(posterior)
    return found


def compared(posteriors: Mapping[str, Posterior]) -> dict[str, Any]:
    """{law: difference of elpd from the best, its error, stacking weight, rows that weigh too much}."""
    found = compare(posteriors)
    return {
        name: {
            "difference": found.difference[name], "error": found.difference_error[name],
            "weight": found.weights[name], "doubtful": len(loo.doubtful),
        }
        for name, loo in found.loo.items()
    }  # fmt: skip


def held_out(part: Part, settings: Settings) -> dict[str, Any]:
    """How the last law forecasts the runs that are held out; all of log loss, predicted less observed.

    rows, fitted; miss: mean of the point fit's; miss_rmse over rmse, that of the fitted rows; bootstrap and
    posterior: ends [5 %, 50 %, 95 %] of a new run, each averaged over the held-out runs, and how many runs
    lie inside.
    """
    law = laws.get(part.laws[-1])
    known, new = part.rows[~part.held_out], part.rows[part.held_out]
    observed = np.log(new["loss_nats"].to_numpy(float))
    fit = _point(law, known, part.huber, settings)
    miss = np.log(fit.predict(new)) - observed
    draws = _bootstrapped(fit, known, part.huber, settings)
    columns = [new[column].to_numpy(float) for column in law.columns]
    mean = np.log(law({name: values[:, None] for name, values in draws.items()}, *columns))
    count = settings.bootstraps
    noisy = Mixture(mean, np.full(mean.shape, fit.rmse * LN_10), np.full(count, 1 / count))
    posterior = _sampled(known, law.name, settings)
    found: dict[str, Any] = {
        "law": law.name, "fitted": len(known), "rows": len(new), "miss": float(miss.mean()),
        "miss_rmse": float(np.sqrt(np.mean(miss**2)) / (fit.rmse * LN_10)),
        "bootstrap": _intervals(noisy.quantile(ENDS), observed),
        "status": posterior.summary["status"],
    }  # fmt: skip
    if posterior.passed:
        said = forecast(posterior, new, level=ENDS[-1] - ENDS[0], seed=settings.seed)
        found["posterior"] = _intervals(np.log(said.run), observed)
    return found


def _intervals(ends: np.ndarray, observed: np.ndarray) -> dict[str, Any]:
    """Ends [3, runs] of forecasts against what was observed [runs]."""
    low, middle, high = (ends - observed).mean(axis=1).tolist()
    inside = int(np.sum((ends[0] <= observed) & (observed <= ends[-1])))
    return {"low": low, "middle": middle, "high": high, "inside": inside}


def _point(law: laws.Law, rows: pandas.DataFrame, huber: bool, settings: Settings) -> PointFit:
    if huber:
        with np.errstate(over="ignore"):
            return fit_point(law, rows, settings.seed)
    return point_fit(law, rows, starts=settings.starts, seed=settings.seed)


def _bootstrapped(
    fit: PointFit, rows: pandas.DataFrame, huber: bool, settings: Settings
) -> dict[str, np.ndarray]:
    with np.errstate(over="ignore"):  # a share may run to its end: exp overflows on the way, the share is 0
        return bootstrap(
            fit, rows, huber=HUBER if huber else None, draws=settings.bootstraps, seed=settings.seed
        )


def _sampled(rows: pandas.DataFrame, law: str, settings: Settings) -> Posterior:
    from moebook.bayes.fitting import fit

    return fit(rows, law, seed=settings.seed, sampler=settings.sampler, progress=False)


def _ends(draws: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(draws, ENDS).tolist()
    return {"q05": low, "q50": middle, "q95": high}
