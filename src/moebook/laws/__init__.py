"""Functional forms of the loss L(N, D, S): pure array functions, one file a law."""

from __future__ import annotations

from moebook.errors import InputError
from moebook.laws.abnar import ABNAR
from moebook.laws.chinchilla import CHINCHILLA
from moebook.laws.clark import CLARK, CLARK_BILINEAR, CLARK_SEPARABLE
from moebook.laws.isoflop import ISOFLOP
from moebook.laws.krajewski import KRAJEWSKI
from moebook.laws.law import Law
from moebook.laws.ludziejewski import LUDZIEJEWSKI
from moebook.laws.prior import Prior
from moebook.laws.tian import TIAN

_LAWS = (
    ABNAR, CHINCHILLA, CLARK, CLARK_BILINEAR, CLARK_SEPARABLE, ISOFLOP, KRAJEWSKI, LUDZIEJEWSKI, TIAN
)  # fmt: skip
REGISTRY: dict[str, Law] = {law.name: law for law in _LAWS}


def names() -> tuple[str, ...]:
    """The names of the laws, sorted."""
    return tuple(sorted(REGISTRY))


def get(name: str) -> Law:
    """The law of that name; InputError lists the names that exist."""
    if name not in REGISTRY:
        raise InputError(f"law: {name}: unknown; there are {', '.join(names())}")
    return REGISTRY[name]


__all__ = ["REGISTRY", "Law", "Prior", "get", "names"]
