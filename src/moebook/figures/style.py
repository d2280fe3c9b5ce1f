"""One look for all figures: palette, sizes, axes of FLOPs, sizes and sparsity."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

P = ParamSpec("P")

INK = "#1a1a1a"  # text and axes; on a page it follows the page's own text colour
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8b6f47",
    "#808080",
)  # Okabe and Ito 2008, a brown and a grey
# An order of colours of about one lightness: each shows on a light page and on a dark one.
ORDER = LinearSegmentedColormap.from_list(
    "order", ["#0072b2", "#7b5cc9", "#b84aa5", "#d2455a", "#d55e00", "#a87900"]
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # never colour alone
ACCENT = PALETTE[0]

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "moebook",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator: draw in the house style, whatever the caller's own settings are."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return inside


def new_figure(width_inches: float = 5.2, height_inches: float = 3.4) -> tuple[Figure, Axes]:
    """A figure with one axes in the house style, without pyplot's global state. Call it inside `styled`."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def of_sparsity(values: Sequence[float]) -> dict[float, tuple[str, str]]:
    """A colour and a marker for each sparsity, the same on every figure with the same set.

    Sparsity is an order, so the colours are one as well: from blue over red to ochre.
    """
    ordered = sorted(set(values))
    colors = [to_hex(color) for color in ORDER(np.linspace(0, 1, len(ordered)))]
    return {value: (colors[i], MARKERS[i % len(MARKERS)]) for i, value in enumerate(ordered)}


def sparsity_text(sparsity: float) -> str:
    """Sparsity as people write it: 0, 3/4, 15/16, or two to four decimals where it is no simple fraction."""
    simple = Fraction(sparsity).limit_denominator(256)
    if abs(float(simple) - sparsity) < 1e-9:
        return str(simple)
    digits = 2 if sparsity < 0.9 else 3 if sparsity < 0.99 else 4
    return f"{sparsity:.{digits}f}"


def flops_text(flops: float) -> str:
    """A budget as TeX-free text: 3e+11 becomes 3·10¹¹."""
    return _power_of_ten(flops)


def count_text(count: float) -> str:
    """A number of parameters or tokens with a unit, two digits or the whole number: 12 k, 1.3 M, 2.1 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            scaled = count / size
            return (f"{scaled:.0f}" if scaled >= 9.95 else f"{scaled:.1f}".removesuffix(".0")) + f" {unit}"
    return f"{count:.0f}"


def percent(share: float) -> str:
    """A share of draws as people read it, no finer than a few thousand draws tell: under 1 %, 91 %."""
    if share < 0.01:
        return "under 1 %"
    if share > 0.99:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def unbroken(text: str) -> str:
    """The text with a space before % that no line breaks at."""
    return re.sub(r"(?<=[\d}]) %", "\N{NO-BREAK SPACE}%", text)


def sparsity_decimals(*sparsities: float) -> list[str]:
    """Sparsities in decimals, all with as many as the largest needs: more of them near one."""
    largest = max(sparsities)
    digits = 2 if largest < 0.9 else 3 if largest < 0.99 else 4
    return [f"{value:.{digits}f}" for value in sparsities]


def sparsity_axis(axes: Axes, top: float, axis: str = "x") -> None:
    """Label an axis whose coordinate is log2(1/(1 - S)) (doublings of E/K) with the sparsities themselves."""
    ticks = list(range(int(top + 1e-9) + 1))
    target = axes.xaxis if axis == "x" else axes.yaxis
    target.set_major_locator(FixedLocator(ticks))
    target.set_major_formatter(FuncFormatter(lambda value, _: sparsity_text(1 - 2.0**-value)))
    target.set_minor_locator(NullLocator())
    if axis == "x" and len(ticks) > 6:  # 63/64 and 127/128 side by side would run into each other
        axes.tick_params(axis="x", rotation=45)


def count_axis(axes: Axes, unit: str, axis: str = "x") -> None:
    """A logarithmic axis of parameters or tokens, with few ticks that read 50 k, 100 k, 1 M."""
    (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
    target, limits = (axes.xaxis, axes.get_xlim()) if axis == "x" else (axes.yaxis, axes.get_ylim())
    choices = [m * 10.0**e for e in range(12) for m in (1, 2, 5)]
    inside = [value for value in choices if limits[0] <= value <= limits[1]]
    if len(inside) > 6:
        inside = [value for value in inside if str(value)[0] == "1"]
    target.set_major_locator(FixedLocator(inside))
    target.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    target.set_minor_formatter(NullFormatter())
    target.set_label_text(unit)


def flops_axis(axes: Axes, label: str = "training compute C (FLOPs)") -> None:
    """A logarithmic x axis of FLOPs."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _power_of_ten(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"
