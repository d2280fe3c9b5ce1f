"""Estimates that can be quoted: identity, digits, text, BibTeX, JSON."""

from moebook.cite.estimate import Estimate, decimals, in_digits, of_coefficient, of_optimum

__all__ = ["Estimate", "decimals", "in_digits", "of_coefficient", "of_optimum"]
