"""The run table as the chapters show it: cells, best sizes, seed noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from moebook.errors import InputError
from moebook.figures.style import flops_text, sparsity_text

if TYPE_CHECKING:
    import pandas


def done_runs(table: pandas.DataFrame, text: str | None = None) -> pandas.DataFrame:
    """The runs of the table that ended well, with the column `budget_flops`: the planned compute, two digits.

    A run that was made for a purpose of its own, such as tuning, is not among them.

    Runs end on whole batches, so that the compute spent differs from the plan by less than a percent or two.
    Raises InputError where there is none.
    """
    rows = table[(table["status"] == "done") & (table["purpose"] == "")]
    if text is not None:
        rows = rows[rows["text"] == text]
    if rows.empty:
        raise InputError(f"runs: text: {text!r}: no run that is done")
    return rows.assign(budget_flops=[float(f"{c:.1e}") for c in rows["compute_flops"]]).reset_index(drop=True)


def cells(runs: pandas.DataFrame) -> pandas.DataFrame:
    """One row a cell (budget, sparsity, width) of `done_runs`: its size, its seeds, mean and spread of the
    loss.

    A seed moves the models of a width alike, so what it does to those cells that have every seed of the
    width is taken off all of its runs before the mean: else a cell of fewer seeds than its neighbours would
    be compared by what its own happen to add.

    Columns: compute_flops (planned), sparsity, width, params, params_active, tokens, seeds, loss_nats and
    loss_sd_nats (standard deviation between seeds; empty for one).
    """
    names = ["budget_flops", "sparsity", "width"]
    grouped = runs.groupby(names, as_index=False).agg(
        params=("params", "first"), params_active=("params_active", "first"), tokens=("tokens", "first"),
        seeds=("seed", "count"), loss_sd_nats=("loss_nats", "std"),
    )  # fmt: skip
    moved = runs.assign(loss_nats=runs["loss_nats"] - _moved_by_seed_nats(runs))
    means = moved.groupby(names, as_index=False)["loss_nats"].mean()
    grouped = grouped.merge(means, on=names)
    return grouped.rename(columns={"budget_flops": "compute_flops"})


def _moved_by_seed_nats(runs: pandas.DataFrame) -> np.ndarray:
    """What the seed of each run does to the models of its budget and width, nats [rows]: the mean, over the
    sparsities that have every seed, of their deviation from their own mean; 0 where there is none."""
    moved = np.zeros(len(runs))
    place = np.arange(len(runs))
    for _, part in runs.assign(place=place).groupby(["budget_flops", "width"]):
        wide = part.pivot_table(index="sparsity", columns="seed", values="loss_nats").dropna()
        if len(wide):
            of_seed = wide.sub(wide.mean(axis=1), axis=0).mean()
            moved[part["place"]] = of_seed[part["seed"]]
    return moved


def best_sizes(cell_rows: pandas.DataFrame) -> pandas.DataFrame:
    """The cell of lowest loss for each budget and sparsity, and whether it is bracketed.

    Bracketed: there is a smaller and a larger width at that budget and sparsity, both worse. An optimum at
    the end of its row may lie beyond it, and is flagged, not reported as an optimum.

    `margin_nats` is by how much: what the worst of the smaller widths and the worst of the larger ones lose
    against the best, the less of the two. (Not the nearest: next to the bottom of a bowl little is lost.)
    Empty where not bracketed.
    """
    rows = []
    for (budget, sparsity), line in cell_rows.groupby(["compute_flops", "sparsity"]):
        line = line.sort_values("width").reset_index(drop=True)
        at = int(line["loss_nats"].idxmin())
        widths = len(line)
        side = (
            "one size only"
            if widths == 1
            else "smallest"
            if at == 0
            else "largest"
            if at == widths - 1
            else ""
        )
        best = line.loc[at].to_dict() | {"compute_flops": budget, "sparsity": sparsity, "sizes": widths}
        loss = line["loss_nats"].to_numpy()
        margin = float("nan") if side else min(loss[:at].max(), loss[at + 1 :].max()) - loss[at]
        rows.append(best | {"bracketed": not side, "flag": side, "margin_nats": margin})
    import pandas as pd

    return pd.DataFrame(rows)


def at_sizes(cell_rows: pandas.DataFrame, least: int = 3) -> pandas.DataFrame:
    """Loss against sparsity at fixed budget and fixed size N (all parameters), interpolated.

    Along each row of `cells` (budget, sparsity) the loss is taken as straight lines in log N between the
    cells that were run, never beyond them. A budget gets three sizes, evenly in log N inside what `least`
    sparsities cover, or the middle one alone where that is less than a doubling.

    Columns: compute_flops, size (0 is the smallest N of the budget), params, sparsity, loss_nats. Empty where
    no size is covered by so many.
    """
    import pandas as pd

    rows = []
    for budget, part in cell_rows.groupby("compute_flops"):
        lines = {s: line.sort_values("params") for s, line in part.groupby("sparsity")}

        def covering(size: float, lines: dict = lines) -> list[float]:
            return [s for s, of in lines.items() if of["params"].iloc[0] <= size <= of["params"].iloc[-1]]

        ends = [n for n in part["params"] if len(covering(n)) >= least]
        if not ends:
            continue
        between = np.geomspace(min(ends), max(ends), 5)[1:-1]
        sizes = between if max(ends) >= 2 * min(ends) else between[1:2]
        for index, size in enumerate(n for n in sizes if len(covering(n)) >= least):
            for s in covering(size):
                loss = np.interp(np.log(size), np.log(lines[s]["params"]), lines[s]["loss_nats"])
                rows.append((budget, index, float(size), s, float(loss)))
    return pd.DataFrame(rows, columns=["compute_flops", "size", "params", "sparsity", "loss_nats"])


def told_apart(sparsity: np.ndarray, loss_nats: np.ndarray, noise_nats: float) -> tuple[float, float]:
    """Between which sparsities the lowest point of a line lies: the nearest on either side that are worse by
    more than the noise of a difference; nan on a side where none is, for there it is open."""
    at, nan = int(np.argmin(loss_nats)), float("nan")
    worse = sparsity[loss_nats - loss_nats[at] > noise_nats]
    below, above = worse[worse < sparsity[at]], worse[worse > sparsity[at]]
    return max(below, default=nan), min(above, default=nan)


def replicates(runs: pandas.DataFrame) -> pandas.DataFrame:
    """Runs of cells with two seeds or more, with the cell's `seeds` and `deviation_nats` from its mean."""
    by_cell = runs.groupby(["text", "budget_flops", "sparsity", "width"])["loss_nats"]
    rows = runs.assign(
        seeds=by_cell.transform("count"), deviation_nats=runs["loss_nats"] - by_cell.transform("mean")
    )
    return rows[rows["seeds"] > 1].reset_index(drop=True)


def seed_sd_nats(replicate_rows: pandas.DataFrame) -> float:
    """Pooled standard deviation between seeds, nats; InputError where no cell has two."""
    if replicate_rows.empty:
        raise InputError("runs: seed: no cell has two seeds: their noise cannot be told")
    freedom = float(np.sum(1 - 1 / replicate_rows["seeds"]))
    return float(np.sqrt(np.sum(replicate_rows["deviation_nats"] ** 2) / freedom))


def same_seed_sd_nats(replicate_rows: pandas.DataFrame) -> float | None:
    """Standard deviation of the difference of two runs of one budget, width and seed, nats.

    It is that of single runs less what all sparsities of a budget, width and seed share. None where no two
    sparsities of a width have two seeds each.
    """
    squares, freedom = 0.0, 0
    for _, part in replicate_rows.groupby(["text", "budget_flops", "width"]):
        wide = part.pivot_table(index="sparsity", columns="seed", values="loss_nats").dropna(axis=1)
        if min(wide.shape) > 1:
            rest = wide.sub(wide.mean(axis=1), axis=0).sub(wide.mean(axis=0) - wide.to_numpy().mean(), axis=1)
            squares += float((rest**2).to_numpy().sum())
            freedom += (wide.shape[0] - 1) * (wide.shape[1] - 1)
    return float(np.sqrt(2 * squares / freedom)) if freedom else None


def difference_sd_nats(runs: pandas.DataFrame) -> dict[float, float]:
    """Standard deviation of the difference of two runs of different widths, nats, by budget of one text.

    sqrt(2) times that between the seeds of the budget, or of all budgets where none was repeated there; the
    noise of a budget is not that of another. What a seed does to all models of a width drops out of a
    difference of two of them (`same_seed_sd_nats`), but not here. Empty where no cell has two seeds.
    """
    repeated = replicates(runs)
    if repeated.empty:
        return {}
    parts = {float(c): repeated[repeated["budget_flops"] == c] for c in sorted(set(runs["budget_flops"]))}
    return {
        budget: float(np.sqrt(2)) * seed_sd_nats(part if len(part) else repeated)
        for budget, part in parts.items()
    }


def within_noise(best: pandas.DataFrame, noise_nats: Mapping[float, float]) -> list[bool]:
    """Rows of `best_sizes` that are bracketed by less than the noise of a difference at their budget."""
    noise = best["compute_flops"].map(noise_nats).astype(float)
    return list(best["bracketed"] & (best["margin_nats"] < noise))


def noise_by_cell(runs: pandas.DataFrame) -> pandas.DataFrame:
    """The noise between seeds, a row for each text, budget and sparsity of `done_runs`.

    Columns text, budget_flops, sparsity, models (trained more than once), runs (of these) and sd_nats, pooled
    over them; empty where none was repeated.
    """
    import pandas as pd

    repeated = replicates(runs)
    rows = []
    for names, _ in runs.groupby(["text", "budget_flops", "sparsity"]):
        text, budget, sparsity = names
        same = (repeated[["text", "budget_flops", "sparsity"]] == [text, budget, sparsity]).all(axis=1)
        part = repeated[same]
        sd = seed_sd_nats(part) if len(part) else float("nan")
        rows.append((text, budget, sparsity, part["width"].nunique(), len(part), sd))
    return pd.DataFrame(rows, columns=["text", "budget_flops", "sparsity", "models", "runs", "sd_nats"])


def gain_nats(best: pandas.DataFrame, compute_flops: float) -> tuple[float, float]:
    """Best sparse against best dense model at one budget: (loss difference in nats, sparsity of the best)."""
    rows = best[np.isclose(best["compute_flops"], compute_flops)]
    dense, sparse = rows[rows["sparsity"] == 0], rows[rows["sparsity"] > 0]
    if dense.empty or sparse.empty:
        raise InputError(
            f"runs: compute_flops: {compute_flops:g}: no dense run, or none but dense, to compare"
        )
    winner = sparse.loc[sparse["loss_nats"].idxmin()]
    return float(dense["loss_nats"].min() - winner["loss_nats"]), float(winner["sparsity"])


def parabola_sparsity(best: pandas.DataFrame, compute_flops: float) -> float | None:
    """The lowest point of a parabola in log(1 - S) through the losses of `best_sizes` at one budget: the
    lowest of them and two on either side where there are so many. No law is in it. None where the lowest
    lies at an end, or the parabola has no lowest point between its ends."""
    line = best[np.isclose(best["compute_flops"], compute_flops)].sort_values("sparsity")
    slack, loss = -np.log1p(-line["sparsity"].to_numpy()), line["loss_nats"].to_numpy()
    at = int(np.argmin(loss))
    if at in (0, len(loss) - 1):
        return None
    near = slice(max(at - 2, 0), at + 3)
    bend, slope, _ = np.polyfit(slack[near], loss[near], 2)
    vertex = -slope / (2 * bend) if bend > 0 else np.nan
    return float(-np.expm1(-vertex)) if slack[near][0] < vertex < slack[near][-1] else None


def width_pairs(cell_rows: pandas.DataFrame) -> pandas.DataFrame:
    """Sparse cells with the `loss_nats_dense` of the dense cell of the same budget and width."""
    dense = cell_rows[cell_rows["sparsity"] == 0][["compute_flops", "width", "loss_nats"]]
    sparse = cell_rows[cell_rows["sparsity"] > 0]
    return sparse.merge(dense, on=["compute_flops", "width"], suffixes=("", "_dense"))


def neighbour_loss_nats(cell_rows: pandas.DataFrame) -> float:
    """Median of what the next smaller and the next larger size lose against a bracketed best size, nats."""
    losses = []
    for _, line in cell_rows.groupby(["compute_flops", "sparsity"]):
        loss = line.sort_values("width")["loss_nats"].to_numpy()
        at = int(np.argmin(loss))
        if 0 < at < len(loss) - 1:
            losses += [loss[at - 1] - loss[at], loss[at + 1] - loss[at]]
    if not losses:
        raise InputError("runs: width: no best size is bracketed: the bowls cannot be measured")
    return float(np.median(losses))


def spent(table: pandas.DataFrame, decay_share: float) -> tuple[float, float]:
    """What the runs cost together: (FLOPs, seconds), the stretch that runs share counted once.

    Runs of one model, seed and rate branch off one trunk, so each carries the trunk's cost up to its end. Of
    the longest all is counted, of the others their own decay, `decay_share` of each.
    """
    trunk = ["study", "text", "width", "sparsity", "seed", "learning_rate", "batch_tokens", "granularity",
             "active", "shared_experts"]  # fmt: skip
    # Two runs of one length are no branches of one trunk: their recipes differ in what is no column.
    table = table.assign(twin=table.groupby([*trunk, "compute_flops"]).cumcount())
    trunk.append("twin")
    totals = []
    for column in ("compute_flops", "wall_seconds"):
        by_trunk = table.groupby(trunk)[column]
        longest = by_trunk.max()
        totals.append(float((longest + decay_share * (by_trunk.sum() - longest)).sum()))
    return totals[0], totals[1]


def overview(table: pandas.DataFrame, decay_share: float) -> pandas.DataFrame:
    """What was run, a row a text: budgets, sparsities, widths, runs by status, runs that were made for a
    purpose of their own, cost of all of these."""
    import pandas as pd

    rows = []
    for text, part in table.groupby("text"):
        done = done_runs(part)
        rows.append(
            {
                "text": text,
                "budgets (FLOPs)": ", ".join(flops_text(c) for c in sorted(set(done["budget_flops"]))),
                "sparsities": ", ".join(sparsity_text(s) for s in sorted(set(done["sparsity"]))),
                "widths": f"{done['width'].min()} to {done['width'].max()}",
                "done": len(done),
                "diverged": int((part["status"] == "diverged").sum()),
                "failed": int((part["status"] == "failed").sum()),
                "set aside": int((part["purpose"] != "").sum()),
                "core hours": spent(part, decay_share)[1] / 3600,
            }
        )
    return pd.DataFrame(rows)
