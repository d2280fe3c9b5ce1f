"""The best sparsity for each posterior draw, under the family's own cost, and the paper's claims."""

from moebook.optimum.best import Optimum, optimum
from moebook.optimum.claims import Claim, claims
from moebook.optimum.grid import Fitted, fitted_span, width_of
from moebook.optimum.size import BestSize, best_size, no_choice_of_sparsity

__all__ = [
    "BestSize",
    "Claim",
    "Fitted",
    "Optimum",
    "best_size",
    "claims",
    "fitted_span",
    "no_choice_of_sparsity",
    "optimum",
    "width_of",
]
