"""Functional forms of the loss L(N, D, S): pure array functions, one file a law."""

from __future__ import annotations

from moebook.errors import InputError
from moebook.laws.abnar import ABNAR
from moebook.laws.chinchilla import CHINCHILLA
from moebook.laws.law import Law

REGISTRY: dict[str, Law] = {law.name: law for law in (ABNAR, CHINCHILLA)}


def names() -> tuple[str, ...]:
    """The names of the laws, sorted."""
    return tuple(sorted(REGISTRY))


def get(name: str) -> Law:
    """The law of that name; InputError lists the names that exist."""
    if name not in REGISTRY:
        raise InputError(f"law: {name}: unknown; there are {', '.join(names())}")
    return REGISTRY[name]


__all__ = ["REGISTRY", "Law", "get", "names"]
