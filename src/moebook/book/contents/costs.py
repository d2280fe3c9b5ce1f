"""What `make bench` measured, in sentences, figures and tables; one of each a machine."""

from __future__ import annotations

from functools import cache

from moebook.book.benchmarks import FeedForward, Result, Step, load_results
from moebook.book.contents.paper_costs import UPDATE_BYTES, megabytes
from moebook.book.contents.run_costs import processor
from moebook.book.say import more
from moebook.figures import costs as figures
from moebook.figures import page
from moebook.figures.style import count_text

MATRIX_PASSES = 3  # an expert's weights are read forward, read backward, and their gradient is written
NEARLY = 0.03  # a difference that the measurement hardly tells from none
MET = {True: "pass", False: "miss"}


@cache
def machines() -> tuple[Result, ...]:
    """The machines whose processor was measured; a chapter shows each."""
    return tuple(result for result in load_results() if result.steps and result.feed_forwards)


def measured_in_words() -> str:
    """Which machines were measured, when, and how often each thing was run; Markdown."""
    return "\n".join(
        f"- **{processor(result.hardware)}:** measured on {result.measured[:10]}, {result.rounds} turns for "
        f"a feed-forward and {max(1, result.rounds // 2)} for a step, with the code of {result.commit[:7]}."
        for result in machines()
    )


def by_width(result: Result) -> dict[int, list[Step]]:
    """A machine's steps by width, the dense twin first."""
    widths = sorted({step.width for step in result.steps})
    return {
        width: sorted((s for s in result.steps if s.width == width), key=lambda step: step.experts)
        for width in widths
    }


def equal_in_words(result: Result) -> str:
    """Whether equal FLOPs are equal seconds: the time of a FLOP in sparse steps over dense; Markdown."""
    times = [
        step.time() / dense.time() * dense.flops_per_token / step.flops_per_token
        for dense, *sparse in by_width(result).values()
        for step in sparse
    ]
    least, most = min(times), max(times)
    verdict = "nearly" if max(most - 1, 1 - least) < NEARLY else "no"
    return (
        f"On {processor(result.hardware)}, {verdict}. For each FLOP, a sparse model takes between "
        f"{more(least)} and {more(most)} time than the dense model of its width."
    )


def step_figures(result: Result) -> page.Html:
    """Time and FLOPs of a step against the number of experts, a panel a width."""
    groups = by_width(result)
    slowest = max(
        step.time("transformers") / steps[0].time() for steps in groups.values() for step in steps
    )
    panels = []
    for width, steps in groups.items():
        dense = steps[0]
        figure = figures.times_by_experts(
            [step.experts for step in steps],
            [step.flops_per_token / dense.flops_per_token for step in steps],
            {
                "time, ours": [step.time() / dense.time() for step in steps],
                "time, transformers": [step.time("transformers") / dense.time() for step in steps],
            },
            f"width {width}", 1.08 * slowest,
        )  # fmt: skip
        label = (
            f"Time and FLOPs of a training step at width {width} against the number of experts, over dense."
        )
        panels.append((figure, label))
    return page.grid(
        panels,
        f"{processor(result.hardware)}: a whole training step against the number of experts, over the dense "
        "model. The active feed-forward is the same in all.",
    )


def steps_in_words(result: Result) -> str:
    """By how much equal FLOPs are not equal seconds, at the most experts of each width; Markdown."""
    lines = []
    for width, (dense, *_, most) in by_width(result).items():
        flops = more(most.flops_per_token / dense.flops_per_token)
        time = more(most.time() / dense.time())
        peer = more(most.time("transformers") / dense.time("transformers"))
        lines.append(
            f"- **Width {width}:** {most.experts} experts instead of a dense feed-forward take {flops} FLOPs "
            f"and {time} time. For transformers, against its own dense model, it is {peer} time."
        )
    return "\n".join(lines)


def step_table(result: Result) -> page.Html:
    """Every step that was timed, folded.

    Milliseconds are as the clock ran; ratios are of times in units of the product that each step took turns
    with, and so free of the drift of the core.
    """
    import pandas as pd

    dense = {width: steps[0] for width, steps in by_width(result).items()}
    frame = pd.DataFrame(
        {
            "d": step.width, "E": step.experts, "N": count_text(step.params),
            "FLOPs a token": step.flops_per_token,
            "ours (ms)": step.seconds["ours"] * 1e3, "transformers (ms)": step.seconds["transformers"] * 1e3,
            "ours over dense": step.time() / dense[step.width].time(),
            "transformers over its dense":
                step.time("transformers") / dense[step.width].time("transformers"),
            "useful FLOPs over possible": step.share, "bar": bar_text("≥", step.bar, step.met),
            "tokens/s over transformers": step.faster,
            "its bar": bar_text("≥", step.peer_bar, step.met_peer),
        }
        for step in result.steps
    )  # fmt: skip
    formats = {"FLOPs a token": "{:,.0f}"} | dict.fromkeys(("ours (ms)", "transformers (ms)"), "{:.1f}")
    ratios = ("ours over dense", "transformers over its dense", "useful FLOPs over possible",
              "tokens/s over transformers")  # fmt: skip
    formats |= dict.fromkeys(ratios, "{:.2f}")
    return page.table(
        frame, formats=formats,
        fold=f"{processor(result.hardware)}: all steps, and their bars; milliseconds drift with the core, "
        "ratios do not",
    )  # fmt: skip


def feed_forward_figure(result: Result) -> page.Html:
    """Every feed-forward's time over dense, those with the most tokens an expert on top."""
    rows = sorted(result.feed_forwards, key=lambda row: -row.rows_per_expert)
    return page.show(
        figures.feed_forwards(
            [f"{tokens_each(row)}\n(E = {row.experts}, d = {row.width})" for row in rows],
            [row.floor for row in rows], [row.ratio["ours"] for row in rows],
            [row.ratio["transformers"] for row in rows], [row.bar for row in rows],
        ),
        "Times of feed-forwards over dense ones of equal active FLOPs: products alone, ours, transformers.",
        f"{processor(result.hardware)}: one feed-forward, forward and backward, over a dense one of the same "
        "active FLOPs.",
    )  # fmt: skip


def feed_forwards_in_words(result: Result) -> str:
    """How the floor follows the tokens of an expert, and how much of the time above dense it explains."""
    rows = sorted(result.feed_forwards, key=lambda row: row.rows_per_expert)
    few, many = rows[0], rows[-1]
    return (
        f"On {processor(result.hardware)}, with {tokens_each(many)}, the products by "
        f"expert alone bring the time to {many.floor:.2f} of dense, and with {few.rows_per_expert:.0f} "
        f"tokens to {few.floor:.2f}. By the count above, the weights then move {_weight_bytes(many):.2g} and "
        f"{_weight_bytes(few):.2g} bytes a FLOP. All of our mixture takes {many.ratio['ours']:.2f} and "
        f"{few.ratio['ours']:.2f}."
    )


def _weight_bytes(row: FeedForward) -> float:
    """Bytes of weights and their gradients moved for each FLOP, in fp32."""
    entries = 3 * row.width * row.expert_width * row.experts
    flops = 6 * 3 * row.width * row.expert_width * row.tokens * row.active
    return MATRIX_PASSES * 4 * entries / flops


def feed_forward_table(result: Result) -> page.Html:
    """Every feed-forward that was timed, folded."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "tokens": row.tokens, "d": row.width, "f": row.expert_width, "E": row.experts, "K": row.active,
            "dense (ms)": row.seconds["dense"] * 1e3, "our dense": row.ratio["our dense"],
            "products by expert": row.floor, "ours": row.ratio["ours"],
            "bar": bar_text("≤", row.bar, row.met),
            "transformers": row.ratio["transformers"],
            "no slower than it": MET[row.met_transformers],
            "its loop over experts": row.ratio.get("transformers eager", float("nan")),
        }
        for row in result.feed_forwards
    )  # fmt: skip
    formats = dict.fromkeys(("our dense", "products by expert", "ours", "transformers"), "{:.2f}")
    formats |= dict.fromkeys(("dense (ms)", "its loop over experts"), "{:.1f}")
    return page.table(
        frame, formats=formats,
        fold=f"{processor(result.hardware)}: all feed-forwards, as times over plain dense, and their bars",
    )  # fmt: skip


def tokens_each(row: FeedForward) -> str:
    """How many tokens an expert gets, with its unit."""
    return f"{row.rows_per_expert:.0f} tokens an expert"


def bar_text(sign: str, bar: float | None, met: bool) -> str:
    """A bar and whether it was met; a dash where there is none."""
    return "–" if bar is None else f"{sign} {bar:.2f}: {MET[met]}"


def update_in_words(result: Result) -> str:
    """What the update of all parameters moves in a step, at the largest width; Markdown."""
    width, (dense, *_, most) = list(by_width(result).items())[-1]
    return (
        f"At width {width}, the update moves {megabytes(UPDATE_BYTES * dense.params)} in a step of the dense "
        f"model and {megabytes(UPDATE_BYTES * most.params)} in one with {most.experts} experts."
    )
