"""Tables on a terminal, and numbers short enough for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LONG = 2000  # rows


def compact(value: float) -> str:
    """A count in three digits: 12.3k, 5.11M, 30.0G, 1.2e+18."""
    if abs(value) >= 9.995e14:
        return f"{value:.3g}"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 7.5 min, 3.2 h, 67 days."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 99.5 * 3600 else f"{seconds / 86_400:.0f} days"


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]], left: int, caption: str = "") -> None:
    """Print a Rich table, the first `left` columns to the left; whole where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)  # a name of the user's may look like either
    if not console.is_terminal:
        console.width = max(200, console.width)
    rows = list(rows)
    if len(rows) > LONG:
        console.file.write("\n".join(_plain(names, rows, left)) + "\n")
    else:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for i, name in enumerate(names):
            table.add_column(name, justify="left" if i < left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if caption:
        console.print(caption, highlight=False, soft_wrap=True)


def _plain(names: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The lines of a table: Rich would take minutes over a hundred thousand."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    form = "  ".join(f"{{:{'<' if i < left else '>'}{width}}}" for i, width in enumerate(widths)).format
    return [form(*names), "─" * (sum(widths) + 2 * len(widths) - 2), *(form(*row) for row in rows)]
