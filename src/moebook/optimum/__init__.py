"""The best sparsity for each posterior draw, under the family's own cost, and the paper's claims."""

from moebook.optimum.best import Optimum, optimum
from moebook.optimum.claims import Claim, claims
from moebook.optimum.grid import Fitted, fitted_span, width_of

__all__ = ["Claim", "Fitted", "Optimum", "claims", "fitted_span", "optimum", "width_of"]
