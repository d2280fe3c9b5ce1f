"""What the last chapter quotes: how well a fit finds a law that is known, and how to cite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebook.book.say import rounded

if TYPE_CHECKING:
    from moebook.bayes import Posterior
    from moebook.laws import Law


def recovered(fitted: Posterior, law: Law) -> dict[str, str]:
    """The data exponent that made the example's runs, and what the fit says of it."""
    estimate = fitted.summary["estimates"]["beta"]
    truth = law.published["beta"]
    inside = estimate["q05"] <= truth <= estimate["q95"]
    error = 2 * max(estimate["mcse_q50"], 1e-6)
    return {
        "true_beta": f"{truth:.3f}",
        "fitted_beta": (
            f"{rounded(estimate['q50'], error)}, with a 90 % interval of {estimate['q05']:.3f} to "
            f"{estimate['q95']:.3f}. The truth lies {'inside' if inside else 'outside'} it"
        ),
        "example_status": fitted.summary["status"],
        "example_runs": str(fitted.summary["rows"]),
    }
