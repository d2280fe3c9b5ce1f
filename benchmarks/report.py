"""The tables that `make bench` prints, no wider than 100 columns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

COLUMNS = 100


def verdict(sign: str, bar: float | None, met: bool | None) -> str:
    """A bar and whether it was met; nothing where there is no bar."""
    if bar is None or met is None:
        return ""
    return f"{sign} {bar:.2f} " + ("[green]pass[/]" if met else "[red]miss[/]")


def cpu_table(feed_forwards: list[dict[str, Any]], steps: list[dict[str, Any]]) -> Table:
    """One core: ours beside the dense twin and transformers, both ratios beside their bars."""
    table = _table(
        "One core, CPU milliseconds. Feed-forward: ratio of ours to plain dense of equal active\n"
        "FLOPs, and to transformers. Step: share of the FLOPs of a square product in the same time,\n"
        "and tokens per second over transformers'.",
        ("tokens, d, f, E, K", "ours", "dense\ntwin", "trans-\nformers", "floor", "ratio", "bar",
         "over\ntrans-\nformers", "bar"),
    )  # fmt: skip
    for row in feed_forwards:
        took, shape = row["cpu_seconds"], row["shape"]
        table.add_row(
            ", ".join(str(shape[k]) for k in ("tokens", "width", "expert_width", "experts", "active")),
            *_ms(took["ours"], took["dense"], took["transformers"]), _number(row["floor"]),
            _beside(row["ratio"]["ours"], row["bar"]), verdict("≤", row["bar"], row["met"]),
            _beside(row["over_transformers"], 1.0), verdict("≤", 1.0, row["met_transformers"]),
        )  # fmt: skip
    table.add_section()
    dense = {row["width"]: row["cpu_seconds"]["ours"] for row in steps if row["experts"] == 1}
    for row in steps:
        took = row["cpu_seconds"]
        table.add_row(
            f"step: d {row['width']}, E {row['experts']}",
            *_ms(took["ours"], dense.get(row["width"]), took["transformers"]), "",
            _beside(row["share"], row["bar"]), verdict("≥", row["bar"], row["met"]),
            _beside(row["faster"], row["peer_bar"]), verdict("≥", row["peer_bar"], row["met_peer"]),
        )  # fmt: skip
    return table


def gpu_table(found: dict[str, Any]) -> Table:
    """One card: whole steps beside the dense twin and transformers, and the share of what the card can do."""
    table = _table(
        f"{found['device']}, bf16, milliseconds of a step. Share: useful FLOPs over those of a square "
        f"product ({found['product_tflops']:.0f} TFLOP/s) in the same run. Speeds in tokens per second.",
        ("", "ours", "trans-\nformers", "share", "over\ndense twin", "bar", "over\ntransformers"),
    )  # fmt: skip
    for row in found["rows"]:
        took = row["seconds"]
        table.add_row(
            f"step: d {row['width']}, E {row['experts']}", *_ms(took["ours"], took.get("transformers")),
            _number(row["share"]), _beside(row["over_dense"], row["bar"]),
            verdict("≥", row["bar"], row["met"]), _number(row["over_transformers"]),
        )  # fmt: skip
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1)
    )
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _ms(*seconds: float | None) -> list[str]:
    return [_number(None if value is None else value * 1e3, 1) for value in seconds]


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _beside(value: float | None, bar: float | None) -> str:
    """A number with a third digit where two would make it look like its bar."""
    return _number(value, 3 if _number(value) == _number(bar) else 2)
