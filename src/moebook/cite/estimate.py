"""An estimate that can be quoted: its identity, no more digits than it has, text, BibTeX, JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from moebook import __released__, __version__

if TYPE_CHECKING:
    from moebook.optimum import Optimum

TITLE = "moebook: how sparse should a mixture-of-experts language model be, for a given budget?"
AUTHOR = "{The moebook developers}"


def decimals(error: float, most: int = 6) -> int:
    """Decimals whose last digit is not finer than twice the Monte Carlo error; `most` where it is 0.

    Negative for numbers so uncertain that digits before the point mean nothing.
    """
    if not math.isfinite(error) or error < 0:
        raise ValueError(f"a Monte Carlo error cannot be {error}")
    return most if error == 0 else min(most, math.floor(-math.log10(2 * error)))


def in_digits(value: float, error: float, most: int = 6) -> str:
    """A number with the digits that its Monte Carlo error supports; four where every draw agrees.

    A number of one and more keeps a digit, however large its error: 0 would be another number.
    """
    if error == 0:
        return f"{value:.4g}"
    places = decimals(error, most)
    if abs(value) >= 1:
        places = max(places, -math.floor(math.log10(abs(value))))
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-4:
        significant = places + math.floor(math.log10(abs(value)))
        return f"{value:.{min(max(significant, 0), most)}e}"
    return f"{round(value, places) + 0.0:.{max(places, 0)}f}"


@dataclass(frozen=True)
class Estimate:
    """One number with its uncertainty and where it comes from.

    name: what it is, in words; unit: as printed after it, or empty; interval_50, interval_90: central;
    mcse: largest Monte Carlo error of median and ends; verdict: `identified` or why not;
    identity: of the estimate (posterior and question together); posterior: identity of the posterior.
    """

    name: str
    unit: str
    median: float
    interval_50: tuple[float, float]
    interval_90: tuple[float, float]
    mcse: float
    verdict: str
    identity: str
    posterior: str
    version: str = __version__

    def text(self) -> str:
        """One sentence, with as many digits as the Monte Carlo error supports."""
        low, high = (in_digits(value, self.mcse) for value in self.interval_90)
        unit = f" {self.unit}" if self.unit else ""
        doubt = "" if self.verdict == "identified" else f"; {self.verdict}"
        middle = in_digits(self.median, self.mcse)
        return (
            f"{self.name}: {middle}{unit} (90 % interval {low} to {high}{unit}{doubt}; "
            f"moebook {self.version}, estimate {self.identity[:12]})"
        )

    def bibtex(self) -> str:
        """A BibTeX entry that names the estimate and carries both identities."""
        name = re.sub(r"([_%&#$])", r"\\\1", self.name)  # as LaTeX wants them
        return (
            f"@misc{{moebook-{self.identity[:12]},\n"
            f"  author  = {{{AUTHOR}}},\n"
            f"  title   = {{{{{TITLE} {name}}}}},\n"
            f"  year    = {{{__released__[:4]}}},\n"
            f"  note    = {{Version {self.version}. Estimate {self.identity}, posterior {self.posterior}}},\n"
            "}\n"
        )

    def json(self) -> str:
        """Everything, for a machine."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)


def of_optimum(found: Optimum, quantity: str = "sparsity_star") -> Estimate:
    """The estimate of one quantity of an optimum: sparsity_star, params_star, params_active_star,
    tokens_star or loss_star_nats."""
    names = {
        "sparsity_star": ("optimal sparsity", ""),
        "params_star": ("optimal parameters", ""),
        "params_active_star": ("active parameters at the optimum", ""),
        "tokens_star": ("training tokens at the optimum", ""),
        "loss_star_nats": ("loss at the optimum", "nats"),
    }
    name, unit = names[quantity]
    size = "" if found.params is None else f" and {found.params:.4g} parameters"
    return Estimate(
        name=f"{name} at {found.compute_flops:.4g} training FLOPs{size}",
        unit=unit,
        median=found.median(quantity),
        interval_50=found.interval(0.5, quantity),
        interval_90=found.interval(0.9, quantity),
        mcse=max(found.monte_carlo_error(quantity, p) for p in (0.05, 0.5, 0.95)),
        verdict=found.verdict,
        identity=found.estimate_identity,
        posterior=found.identity,
    )


def of_coefficient(summary: Mapping[str, Any], name: str) -> Estimate:
    """The estimate of one quantity of a stored posterior, from its summary.json."""
    from moebook.bayes.identity import identity

    estimate = summary["estimates"][name]
    return Estimate(
        name=f"{name} of the law {summary['law']}",
        unit="",
        median=estimate["q50"],
        interval_50=(estimate["q25"], estimate["q75"]),
        interval_90=(estimate["q05"], estimate["q95"]),
        mcse=max(estimate[f"mcse_q{p}"] for p in ("05", "50", "95")),
        verdict="identified" if estimate["identified"] else "not identified: the prior decides",
        identity=identity({"posterior": summary["identity"], "quantity": name}),
        posterior=summary["identity"],
    )
