"""Fits: priors, likelihood with discrepancy, sampling, gates, checks; a posterior and its file form.

    from moebook import bayes
    posterior = bayes.fit("runs.csv", "chinchilla", columns={"params": "N", "tokens": "D", "loss": "loss"})
    posterior.save("runs/posteriors/mine")
    bayes.forecast(posterior, pandas.DataFrame({"params": [1e9], "tokens": [2e10]})).table()
    bayes.compare({"mine": posterior, "other": bayes.Posterior.load("other")}).weights

What samples is imported on the first fit only: reading a stored posterior compiles nothing.
"""

from __future__ import annotations

from typing import Any

import moebook.bayes._environment  # noqa: F401  first: it must precede PyTensor
from moebook.bayes.comparison import Comparison, compare
from moebook.bayes.effects import Wanted
from moebook.bayes.gates import FailedPosterior, Gate, require_passed
from moebook.bayes.posterior import Posterior, read_summary
from moebook.bayes.prediction import Forecast, forecast
from moebook.bayes.priors import Priors
from moebook.bayes.request import Request, Sampler, request


def fit(*args: Any, **kwargs: Any) -> Posterior:
    """See `moebook.bayes.fitting.fit`."""
    from moebook.bayes.fitting import fit as run

    return run(*args, **kwargs)


__all__ = [
    "Comparison",
    "FailedPosterior",
    "Forecast",
    "Gate",
    "Posterior",
    "Priors",
    "Request",
    "Sampler",
    "Wanted",
    "compare",
    "fit",
    "forecast",
    "read_summary",
    "request",
    "require_passed",
]
