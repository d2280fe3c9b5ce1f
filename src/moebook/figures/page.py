"""Figures and tables as HTML: inline SVG that follows the page's colours, tables that scroll inside."""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from moebook.figures.style import INK, SETTINGS, unbroken

if TYPE_CHECKING:
    import pandas

_serial = itertools.count()


class Html(str):
    """A string that a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def svg(figure: Figure, label: str) -> Html:
    """A figure as one inline SVG element.

    Its ink is `currentColor`, so that it is legible on a light and on a dark page; ids are made unique, so
    that several figures can stand on one page. `label` says in a sentence what it shows, for those who
    cannot see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = f"f{next(_serial)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    text = text.replace(INK, "currentColor").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = text.replace("xlink:href", "href")
    width = figure.get_figwidth() * 115  # CSS pixels; 9.5 pt type is then about 15 px
    attributes = (
        f'class="mb-figure" role="img" aria-label="{html.escape(label)}" style="max-width:{width:.0f}px"'
    )
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return Html(text.replace("<svg", f"<svg {attributes}", 1))


def show(figure: Figure, label: str, caption: str = "") -> Html:
    """One figure with its caption."""
    return _figure(svg(figure, label), caption)


def grid(figures: Sequence[tuple[Figure, str]], caption: str = "") -> Html:
    """Several figures side by side, wrapping on narrow screens: pairs of (figure, label)."""
    inside = "".join(str(svg(figure, label)) for figure, label in figures)
    return _figure(f'<div class="mb-grid">{inside}</div>', caption)


def table(
    frame: pandas.DataFrame,
    caption: str = "",
    formats: Mapping[str, Any] | None = None,
    fold: str = "",
    wrap: Sequence[str] = (),
) -> Html:
    """A data frame as a plain table. `formats` maps a column to a format string or a function of the value.

    With `fold`, the table is folded away under that line. Empty cells show a dash. A column of numbers
    aligns right; the columns in `wrap` hold prose, which breaks into lines.
    """
    formats = formats or {}
    classes = [_class(frame[name], name in formats, name in wrap) for name in frame.columns]
    head = "".join(
        f'<th scope="col"{css}>{html.escape(str(name))}</th>'
        for name, css in zip(frame.columns, classes, strict=True)
    )
    rows = []
    for values in frame.itertuples(index=False):
        cells = (
            f"<td{css}>{html.escape(_cell(value, formats.get(name)))}</td>"
            for name, value, css in zip(frame.columns, values, classes, strict=True)
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    text = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    text = f"<table>{text}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    name = html.escape(caption or fold)
    text = f'<div class="mb-table" role="region" aria-label="{name}" tabindex="0">{text}</div>'
    if fold:
        text = f'<details class="mb-fold"><summary>{html.escape(fold)}</summary>{text}</details>'
    return Html(unbroken(text))


def _cell(value: Any, form: Any) -> str:
    if value is None or value != value:
        return "–"
    if callable(form):
        return str(form(value))
    return form.format(value) if form else str(value)


def _class(column: pandas.Series, formatted: bool, prose: bool) -> str:
    if prose:
        return ' class="mb-wrap"'
    return ' class="mb-number"' if formatted or column.dtype.kind in "iuf" else ""


def _figure(inside: str, caption: str) -> Html:
    text = f"<figcaption>{html.escape(unbroken(caption))}</figcaption>" if caption else ""
    return Html(f'<figure class="mb-frame">{inside}{text}</figure>')
