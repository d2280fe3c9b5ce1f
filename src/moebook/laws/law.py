"""What a scaling law is: a named function from (coefficients, columns) to loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

Coefficients = Mapping[str, Any]


@dataclass(frozen=True)
class Law:
    """A parametric scaling law L(columns; coefficients), loss in the unit of its data (nats here).

    `function(coefficients, *columns)` uses arithmetic operators only, so one definition runs on numpy
    arrays (real, complex, longdouble), PyTensor variables and mpmath numbers, with broadcasting.

    name:          the key in the registry
    title, source: what the law is called and where it is published
    columns:       the columns of a run table that it reads, in the order of `function`'s arguments
    coefficients:  the names of its raw coefficients
    function:      (coefficients, *columns) -> loss
    published:     raw coefficients as printed in the source
    power_of:      {amplitude: ((quantity, exponent), ...)}: the term is amplitude / quantity ** exponent, so
                   that measuring the quantity in units of u divides the amplitude by u ** exponent;
                   quantities are `params`, `tokens` and `used` = 1 - sparsity
    totals:        the names of the identified parameters that are sampled instead of the coefficients:
                   the level of the loss where every quantity is 1, shares of it, exponents
    from_totals:   totals -> coefficients, for quantities in the same units
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
    from_totals: Callable[[Coefficients], dict[str, Any]]

    def __post_init__(self) -> None:
        for field in ("published", "power_of"):
            object.__setattr__(self, field, MappingProxyType(dict(getattr(self, field))))
        if set(self.published) != set(self.coefficients):
            raise ValueError(f"{self.name}: published coefficients do not match the names")

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

    def in_units(self, units: Mapping[str, float], *columns: Any) -> tuple[Any, ...]:
        """The columns with each quantity divided by its unit, as `function` takes them."""
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
