"""What a scaling law is: a named function from (coefficients, columns) to loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from moebook.laws.prior import Prior

Coefficients = Mapping[str, Any]


@dataclass(frozen=True)
class Law:
    """A parametric scaling law L(columns; coefficients), loss in the unit of its data (nats here).

    `function(coefficients, *columns)` uses arithmetic operators only (and `laws.arithmetic`), so one
    definition runs on numpy arrays (real, complex, longdouble), PyTensor variables and mpmath numbers, with
    broadcasting.

    name:          the key in the registry
    title, source: what the law is called and where it is published
    columns:       the columns of a run table that it reads, in the order of `function`'s arguments
    coefficients:  the names of its raw coefficients
    function:      (coefficients, *columns) -> loss
    published:     raw coefficients as printed in the source; empty where none are printed
    power_of:      {amplitude: ((quantity, exponent), ...)}: the term is amplitude / quantity ** exponent, so
                   that measuring the quantity in units of u divides the amplitude by u ** exponent;
                   quantities are the columns, save that `sparsity` counts as `used` = 1 - sparsity
    totals:        the names of the identified parameters that are sampled instead of the coefficients:
                   the level of the loss where every quantity is 1 (in the data's units: at its geometric
                   mean), shares of it, exponents there
    from_totals:   totals -> coefficients, for quantities in the same units
    to_totals:     its inverse, where the law gives one
    by_units:      the law is no sum of power laws, so that units cannot be divided out: from_totals and
                   to_totals take the units as a second argument, and the coefficients are those of plain
                   columns. `at` binds the units
    priors:        {total: what is believed of it beforehand}, where the law states it; that of `level` is
                   in units of the geometric mean loss of the rows
    helpers:       functions of other files that `function` calls: these files are part of the definition
    """

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    coefficients: tuple[str, ...]
    function: Callable[..., Any]
    published: Mapping[str, float]
    power_of: Mapping[str, tuple[tuple[str, str], ...]]
    totals: tuple[str, ...]
    from_totals: Callable[..., dict[str, Any]]
    to_totals: Callable[..., dict[str, Any]] | None = None
    by_units: bool = False
    priors: Mapping[str, Prior] = field(default_factory=dict)
    helpers: tuple[Callable[..., Any], ...] = ()

    def __post_init__(self) -> None:
        for name in ("published", "power_of", "priors"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if self.published and set(self.published) != set(self.coefficients):
            raise ValueError(f"{self.name}: published coefficients do not match the names")
        if self.priors and tuple(self.priors) != self.totals:
            raise ValueError(f"{self.name}: priors do not match the totals")
        if self.by_units and self.power_of:
            raise ValueError(f"{self.name}: either the columns or the totals take the units, not both")

    def __call__(self, coefficients: Coefficients, *columns: Any) -> Any:
        """Loss at the columns (in the order of `self.columns`), broadcast against the coefficients."""
        return self.function(coefficients, *columns)

    def gradient(self, coefficients: Coefficients, *columns: Any) -> dict[str, np.ndarray]:
        """dL/d(coefficient) for each coefficient, shape of the loss, exact to rounding.

        By complex step: L(x + ih) has imaginary part h L'(x) with no subtraction, so h may be tiny.
        """
        step = 1e-100
        point = {name: np.asarray(value, dtype=float) for name, value in coefficients.items()}
        arrays = [np.asarray(column, dtype=float) for column in columns]
        return {
            name: np.imag(self.function({**point, name: point[name] + 1j * step}, *arrays)) / step
            for name in self.coefficients
        }

    def units(self, *columns: Any) -> dict[str, float]:
        """The geometric mean of each quantity over the rows: the data's own units."""
        means = {}
        for name, values in zip(self.columns, columns, strict=True):
            quantity, values = _quantity(name, np.asarray(values, dtype=float))
            means[quantity] = float(np.exp(np.mean(np.log(values))))
        return means

    def centre(self, units: Mapping[str, float]) -> tuple[float, ...]:
        """The columns at which every quantity is its unit: there the loss is the total `level`."""
        return tuple(1 - units["used"] if name == "sparsity" else units[name] for name in self.columns)

    def at(self, units: Mapping[str, float]) -> Law:
        """The law whose from_totals and to_totals need no units: itself, unless it is `by_units`."""
        if not self.by_units:
            return self
        bound = {
            name: partial(conversion, units=dict(units))
            for name in ("from_totals", "to_totals")
            if (conversion := getattr(self, name)) is not None
        }
        return replace(self, **bound)

    def plain_coefficients(self, totals: Coefficients, units: Mapping[str, float]) -> dict[str, Any]:
        """Coefficients for plain columns, from totals at `units`."""
        return self.rescale(self.at(units).from_totals(totals), units)

    def totals_at(self, coefficients: Coefficients, units: Mapping[str, float]) -> dict[str, Any]:
        """Totals at `units`, from coefficients for plain columns: the inverse of `plain_coefficients`."""
        to_totals = self.at(units).to_totals
        if to_totals is None:
            raise NotImplementedError(f"the law {self.name} has no way back from coefficients to totals")
        return to_totals(self.rescale(coefficients, {name: 1 / unit for name, unit in units.items()}))

    def files(self) -> tuple[Path, ...]:
        """The source files that define the formula: that of `function`, then those of its helpers."""
        found = [inspect.getsourcefile(part) or "" for part in (self.function, *self.helpers)]
        return tuple(Path(name) for name in dict.fromkeys(found))

    def in_units(self, units: Mapping[str, float], *columns: Any) -> tuple[Any, ...]:
        """The columns as `function` takes them with the coefficients of `from_totals`.

        Each quantity is divided by its unit, unless the law takes the units with its totals.
        """
        if self.by_units:
            return columns
        return tuple(
            1 - (1 - values) / units["used"] if name == "sparsity" else values / units[name]
            for name, values in zip(self.columns, columns, strict=True)
        )

    def rescale(self, coefficients: Coefficients, units: Mapping[str, float]) -> dict[str, Any]:
        """Coefficients for plain columns, from coefficients for columns in `units`."""
        plain = dict(coefficients)
        for amplitude, powers in self.power_of.items():
            for quantity, exponent in powers:
                plain[amplitude] = plain[amplitude] * units[quantity] ** coefficients[exponent]
        return plain


def _quantity(column: str, values: Any) -> tuple[str, Any]:
    """What a law takes powers of: the column itself, or the used share 1 - sparsity."""
    return ("used", 1 - values) if column == "sparsity" else (column, values)
