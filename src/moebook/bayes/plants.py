"""Bugs put into a fit on purpose: calibration that does not find them finds nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moebook.bayes.priors import Priors
from moebook.errors import InputError


@dataclass(frozen=True)
class Plant:
    """What differs between the model that simulates and the model that fits.

    noise_factor: the runs have this times the noise that the fit believes in; exponent_spread: of the fit's
    prior on exponents, in place of its own: a spread of several e-folds is flat over all that is possible;
    misfit: whether the fit has misfit; without, its scale is a ten-thousandth of the noise.
    """

    name: str = ""
    noise_factor: float = 1.0
    exponent_spread: float | None = None
    misfit: bool = True

    def of_fit(self, priors: Priors) -> Priors:
        """The priors of the model that fits."""
        if self.exponent_spread is not None:
            priors = replace(priors, exponent_spread=self.exponent_spread)
        if not self.misfit:
            priors = replace(priors, discrepancy_median=1e-4 * priors.noise_median, discrepancy_spread=0.1)
        return priors


PLANTS = {
    "noise": Plant("noise", noise_factor=2.0),
    "prior": Plant("prior", exponent_spread=3.0),
    "misfit": Plant("misfit", misfit=False),
}


def plant_of(name: str) -> Plant:
    """The bug of that name; none for an empty one."""
    if name and name not in PLANTS:
        raise InputError(f"plant: {name}: unknown; there are {', '.join(PLANTS)}")
    return PLANTS[name] if name else Plant()
