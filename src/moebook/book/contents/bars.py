"""The bars of `make bench`: which were met, which missed, and why, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from moebook.book.benchmarks import FeedForward, Result, Step
from moebook.book.contents.costs import by_width, tokens_each
from moebook.book.contents.paper_costs import UPDATE_BYTES, megabytes
from moebook.book.contents.run_costs import processor
from moebook.book.say import listed, more
from moebook.figures.style import percent


def bars_in_words(result: Result) -> str:
    """How many bars were met, and each that was missed with the reason; Markdown."""
    met = [met for row in result.feed_forwards for met in (row.met, row.met_transformers)]
    met += [step.met for step in result.steps if step.bar is not None] + [s.met_peer for s in result.steps]
    title = processor(result.hardware)
    if all(met):
        return f"**{title}:** all {len(met)} bars were met."
    missed = [line for row in result.feed_forwards for line in _feed_forward(row)]
    missed += [line for steps in by_width(result).values() for line in _steps(steps)]
    lines = "\n".join(f"- {line}" for line in missed)
    return f"**{title}:** {sum(met)} of {len(met)} bars were met. These were missed:\n\n{lines}"


def _feed_forward(row: FeedForward) -> list[str]:
    shape = f"A feed-forward of {row.experts} experts, d = {row.width}, {tokens_each(row)}"
    missed = []
    if not row.met:
        reason = (
            f"The products by expert alone bring it to {row.floor:.2f}: for so few tokens each, they are too "
            "slow themselves."
            if row.floor >= row.bar
            else f"The products by expert alone would bring it to {row.floor:.2f}; the rest goes into "
            "choosing, sorting, gathering and weighting."
        )
        missed.append(f"{shape}: {apart(row.ratio['ours'], row.bar)} of the dense time. {reason}")
    if not row.met_transformers:
        inside = min(row.floor / row.ratio["ours"], 1.0)
        missed.append(
            f"{shape}: {more(row.over_transformers)} time than transformers; the bar is no more. The "
            f"products by expert, which both must do, are {percent(inside)} of our time."
        )
    return missed


def _steps(steps: Sequence[Step]) -> list[str]:
    """Of one width, the dense twin first."""
    missed, width, dense = [], f"A step of width {steps[0].width}", steps[0]
    if dense.bar is not None and not dense.met:
        missed.append(
            f"{width}, dense: useful FLOPs are {apart(dense.share, dense.bar)} of the possible. The "
            "rest goes into smaller products, attention, norms, loss and update."
        )
    sparse = [step for step in steps if step.experts > 1 and step.bar is not None and not step.met]
    if sparse:
        each = [f"{step.tokens * step.active / step.experts:.0f}" for step in sparse]
        moved = [megabytes(UPDATE_BYTES * step.params) for step in sparse]
        missed.append(
            f"{width}, {_experts(sparse)}: useful FLOPs are "
            f"{listed([f'{step.share:.3f}' for step in sparse])} of the possible (bar {sparse[0].bar:.2f}). "
            f"The dense twin reaches {dense.share:.3f}; here an expert gets "
            f"{listed(each)} tokens a step, and the update moves {listed(moved)} instead of "
            f"{megabytes(UPDATE_BYTES * dense.params)}."
        )
    slow = [step for step in steps if not step.met_peer]
    if slow:
        faster = listed([f"{step.faster:.3f}" for step in slow])
        missed.append(
            f"{width}, {_experts(slow)}: {faster} times the speed of transformers (bar "
            f"{slow[0].peer_bar:.2f}). Products at full speed would fill "
            f"{listed([percent(step.share) for step in slow])} of our step. Both libraries leave those "
            "to torch."
        )
    return missed


def _experts(steps: Sequence[Step]) -> str:
    """Dense and with 8 experts; with 8, 32 and 64 experts."""
    counts = [str(step.experts) for step in steps if step.experts > 1]
    names = ["dense"] if len(counts) < len(steps) else []
    return listed([*names, f"with {listed(counts)} experts"] if counts else names)


def apart(value: float, bar: float) -> str:
    """A value and its bar, with as many digits as tell them apart (at most five)."""
    digits = next((d for d in range(2, 5) if f"{value:.{d}f}" != f"{bar:.{d}f}"), 5)
    return f"{value:.{digits}f} (bar {bar:.2f})"
