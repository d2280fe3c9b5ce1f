"""What the runs of the table took at equal FLOPs, and the optimum at equal time. Times are CPU time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from moebook.book.benchmarks import Result, load_results
from moebook.book.contents.curves import answer, posterior
from moebook.book.contents.runs import by_sparsity, text_title, texts
from moebook.book.paths import runs_folder
from moebook.book.say import listed, more
from moebook.figures import costs as figures
from moebook.figures import live, page
from moebook.figures.style import flops_text, percent, sparsity_text
from moebook.runs.store import Store

if TYPE_CHECKING:
    import pandas

    from moebook.runs.record import Record

LEVELS = (0.05, 0.5, 0.95)


@cache
def timed_records() -> tuple[Record, ...]:
    """The runs that ended well on a processor, with their CPU time."""
    return tuple(
        record
        for record in Store(runs_folder()).load()
        if record.done and not record.purpose
        and record.cost.get("cpu_seconds") and record.environment.get("device") == "cpu"
    )  # fmt: skip


def slowdowns() -> pandas.DataFrame:
    """CPU time of a FLOP over that of the dense runs of the same text, width and processor.

    Columns text, width, hardware, sparsity, times (medians over runs); groups without a dense run are left
    out.
    """
    import pandas as pd

    rows = pd.DataFrame(
        {
            "text": record.text, "width": record.model["width"],
            "hardware": record.environment.get("hardware", ""), "sparsity": record.measures["sparsity"],
            "seconds": record.cost["cpu_seconds"] / record.measures["compute_flops"],
        }
        for record in timed_records()
    )  # fmt: skip
    alike = ["text", "width", "hardware"]
    median = rows.groupby([*alike, "sparsity"], as_index=False)["seconds"].median()
    dense = median[median["sparsity"] == 0].drop(columns="sparsity")
    both = median.merge(dense, on=alike, suffixes=("", "_dense"))
    return both.assign(times=both["seconds"] / both["seconds_dense"]).drop(
        columns=["seconds", "seconds_dense"]
    )


def minutes_table() -> page.Html:
    """Minutes of a run, CPU time and by the clock, by text, budget and sparsity, each budget at the width
    that most of its sparsities have in common; medians over runs. A dash where no record has the clock."""
    import pandas as pd

    runs = pd.DataFrame(
        {
            "text": record.text, "budget_flops": float(f"{record.measures['compute_flops']:.1e}"),
            "sparsity": record.measures["sparsity"], "cpu": record.cost["cpu_seconds"] / 60,
            "clock": record.cost.get("wall_seconds", float("nan")) / 60, "width": record.model["width"],
        }
        for record in timed_records()
    )  # fmt: skip
    rows = ["text", "budget_flops"]
    known = runs.groupby([*rows, "width"])["sparsity"].nunique().reset_index()
    most = known.sort_values("sparsity", kind="stable").groupby(rows, as_index=False).last()
    runs = runs.merge(most[[*rows, "width"]])
    taken = runs.groupby([*rows, "width", "sparsity"])[["cpu", "clock"]].median()
    both = [f"{_minutes(cpu)} / {_minutes(clock)}" for cpu, clock in taken.itertuples(index=False)]
    wide = by_sparsity(taken.assign(both=both)["both"].unstack("sparsity"))
    return page.table(
        wide,
        "FLOPs beside the clock: minutes of a run, each CPU time / wall clock, medians, at the width of each "
        "budget that was trained at the most sparsities. Runs that branch off one trunk each count the whole "
        "of it up to their end, so the minutes do not add up. A run had one core of a shared machine; by as "
        "much as the clock says more, it waited",
        {name: str for name in wide.columns if name.startswith("S = ")},
    )


def _minutes(value: float) -> str:
    return "–" if value != value else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def slowdown_figures() -> page.Html:
    """Time of a FLOP against sparsity, a panel a text, a line a width."""
    table = slowdowns()
    top, widths = 1.08 * float(table["times"].max()), [int(w) for w in sorted(set(table["width"]))]
    panels = []
    for text in texts():
        part = table[table["text"] == text].sort_values("sparsity")
        lines = {
            int(width): (list(line["sparsity"]), list(line["times"]))
            for width, line in part.groupby("width")
            if len(line) > 1
        }
        label = f"{text_title(text)}: CPU time of a FLOP over the dense model's, against sparsity, by width."
        panels.append((figures.slowdown_by_sparsity(lines, widths, text_title(text), top), label))
    return page.grid(
        panels,
        "CPU time of the runs at equal FLOPs, over the dense runs of the same text and width (medians). "
        "The dashed line is what the FLOPs say.",
    )


def slowdown_in_words() -> str:
    """What the runs say of time at equal FLOPs; Markdown."""
    table = slowdowns()
    sparse = table[table["sparsity"] > 0]
    by_sparsity = sparse.groupby("sparsity")["times"].median()
    ends = [by_sparsity.index[0], by_sparsity.index[-1]]
    hardware, commits, batches = _made_with()
    return (
        f"At equal FLOPs, the sparse runs took {sparse['times'].min():.1f} to {sparse['times'].max():.1f} "
        f"times the CPU time of the dense runs of the same width. The medians are "
        + listed([f"{by_sparsity[s]:.1f} at S = {sparsity_text(float(s))}" for s in ends])
        + f". They ran on {hardware}, with {' or '.join(f'{b:,}' for b in batches)} bytes in a step, and "
        f"with the code of {listed(commits)}."
    )


def beside_the_runs(result: Result) -> str:
    """What a FLOP takes in a machine's sparsest steps and in such runs, and how they differ; Markdown."""
    _, commits, (batch, *_) = _made_with()
    width = min(step.width for step in result.steps)
    sparse = max((s for s in result.steps if s.width == width), key=lambda step: step.sparsity)
    times, own = (found(np.array([sparse.sparsity]))[0] for found in (timed_slowdown(result), run_slowdown()))
    now, then = (tokens * sparse.active / sparse.experts for tokens in (sparse.tokens, batch))
    code = (
        "The code is the same."
        if result.commit.startswith(tuple(commits))
        else f"The code is another, that of {_short(result.commit)}."
    )
    return (
        f"{code} The steps of `make bench` (width {width}, S = {sparsity_text(sparse.sparsity)}) take "
        f"{more(times)} time a FLOP than dense ones, the runs of that sparsity {more(own)}. The steps hold "
        f"{sparse.tokens / batch:.0f} times the tokens, so that an expert gets {now:.0f} of them instead of "
        f"{then:.0f}."
        + ("" if more(times) == more(own) else " What sparsity costs in seconds is no constant of a model.")
    )


def _made_with() -> tuple[str, list[str], list[int]]:
    """Processors, commits (short) and tokens of a step of the timed runs; of these the most common first."""
    records = timed_records()
    hardware = listed(sorted({processor(record.environment.get("hardware", "")) for record in records}))
    commits = sorted({_short(record.environment.get("commit", "")) for record in records})
    batches = [record.recipe["batch_sequences"] * record.model["context"] for record in records]
    return hardware, commits, sorted(set(batches), key=lambda batch: (-batches.count(batch), batch))


def _short(commit: str) -> str:
    return commit[:7] or "an unknown state"


def processor(hardware: str) -> str:
    """A processor's name without trademarks."""
    return " ".join(hardware.replace("(R)", "").replace("(TM)", "").split()) or "an unknown processor"


Slowdown = Callable[[np.ndarray], np.ndarray]


def run_slowdown() -> Slowdown:
    """Time of a FLOP over dense at any sparsity, as the runs took: medians, with lines between them.

    More experts take no less time for each FLOP: where medians fall, for they are of few runs, they are
    replaced by the closest ones that do not (isotonic regression), or the optimum would fall into the dip.
    """
    from scipy.optimize import isotonic_regression

    groups = slowdowns().groupby("sparsity")["times"]
    times = isotonic_regression(groups.median().to_numpy(), weights=groups.count().to_numpy()).x
    return _between(np.array(list(groups.groups)), times)


def timed_slowdown(result: Result) -> Slowdown:
    """The same as a machine's steps of the smallest width took, which is the nearest to the runs."""
    width = min(step.width for step in result.steps)
    steps = sorted((step for step in result.steps if step.width == width), key=lambda step: step.sparsity)
    times = np.array([step.time() / step.flops_per_token for step in steps])
    return _between(np.array([step.sparsity for step in steps]), times / times[0])


def _between(sparsity: np.ndarray, times: np.ndarray) -> Slowdown:
    return lambda wanted: np.interp(live.doublings(wanted), live.doublings(sparsity), times)


def _timed() -> list[Result]:
    """The machines whose steps were timed."""
    return [result for result in load_results() if result.steps]


@cache
def _ways() -> tuple[tuple[str, Slowdown | None], ...]:
    """What a budget can be counted in."""
    machines = [(f"time, as measured on {processor(r.hardware)}", r) for r in _timed()]
    return (
        ("FLOPs", None),
        ("time, as the runs took it", run_slowdown()),
        *((name, timed_slowdown(result)) for name, result in machines),
    )


@cache
def at_equal_time(text: str) -> tuple[tuple[str, np.ndarray, np.ndarray, float], ...]:
    """The optimum at the headline's budget for each way to count it: (way, S* [draws], what the best
    sparsity of a draw saves against its dense model, nats [draws], largest sparsity)."""
    from moebook.optimum import optimum

    found = answer(text)
    budget = float(found.compute_flops[found.headline_index])
    rows = []
    for way, slowdown in _ways():
        at = optimum(posterior(text), compute_flops=budget, slowdown=slowdown)
        saved = at.loss_profile_nats[:, 0] - at.loss_star_nats
        rows.append((way, at.sparsity_star, saved, float(at.sparsity_grid[-1])))
    return tuple(rows)


def equal_time_table(text: str) -> page.Html:
    """S* and what sparsity saves, with the budget counted in FLOPs and in time; a row a way to count."""
    import pandas as pd

    rows = []
    for way, star, saved, top in at_equal_time(text):
        low, _, middle, _, high = live.quantile_texts(np.quantile(star, live.QUANTILES), top)
        gain = np.quantile(saved, LEVELS)
        rows.append(
            {
                "budget counted in": way,
                "median S*": f"at the {middle}" if middle.startswith("edge") else middle,
                "90 % interval": live.span(low, high),
                "nats saved": f"{gain[1]:.3f} ({gain[0]:.3f} to {gain[2]:.3f})",
            }
        )
    budget = flops_text(answer(text).compute_flops[answer(text).headline_index])
    return page.table(
        pd.DataFrame(rows),
        f"{text_title(text)}, {budget} FLOPs of a dense model",
        wrap=("budget counted in",),
    )


def _beyond_timed(text: str) -> str:
    """A sentence for each machine that timed nothing as sparse as what is best there."""
    said = ""
    for result, (way, star, _, _) in zip(_timed(), at_equal_time(text)[2:], strict=True):
        most = max(step.sparsity for step in result.steps)
        share = float(np.mean(star > most + 1e-6))
        if share >= 0.05:
            said += (
                f" For {way}, nothing above S = {sparsity_text(most)} was timed, and the factor found there "
                f"is kept: as {percent(share)} of the draws lie above, that row is no finding of its own."
            )
    return said


def equal_time_in_words() -> str:
    """What counting in the time that the runs took does to the answer, a line a text; Markdown."""
    lines = []
    for text in texts():
        found = answer(text)
        budget = flops_text(found.compute_flops[found.headline_index])
        (_, _, flops_saved, _), (_, star, saved, top), *_ = at_equal_time(text)
        dense, _ = live.edge_shares(star, top)
        low, _, middle, _, high = live.quantile_texts(np.quantile(star, live.QUANTILES), top)
        middle = f"the {middle}" if middle.startswith("edge") else middle
        lines.append(
            f"- **{text_title(text)}:** in the time that {budget} FLOPs take a dense model, the best "
            f"sparsity has its median at {middle}, 90 % interval {live.span(low, high)}; dense is best in "
            f"{percent(dense)} of the draws. Sparsity saves {np.median(saved):.3f} nats per byte; at equal "
            f"FLOPs it saves {np.median(flops_saved):.3f}.{_beyond_timed(text)}"
        )
    return "\n".join(lines)
