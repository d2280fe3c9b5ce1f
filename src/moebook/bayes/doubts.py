"""What is odd about a table, said before it is fitted: no fit is refused for it, and no answer hides it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from moebook.bayes.columns import LARGEST, LOSS, TRAINING_LOSS
from moebook.bayes.data import Rows
from moebook.laws import Law

CONFOUNDED_FROM = 0.95  # correlation of log N and log D
FEW_BUDGETS = 3
WIDTH_OF_A_BUDGET = 1.5  # runs whose compute lies within this factor of the smallest are of one budget
NARROW_BELOW = 4.0  # largest over smallest N, or D
#: log of 100,000: the loss of a uniform guess over as large a vocabulary as is common.
HIGHEST_LOSS = 11.6
RISING_FROM = 0.2  # rank correlation of loss and compute
UNEVEN_FROM = 3.0  # largest over smallest compute / (params x tokens)
ODD_FROM, ODD_AT_LEAST = 12.0, 0.1  # robust standard deviations from the others, and of log loss


@dataclass(frozen=True)
class Doubt:
    """A warning, or a mere note; `name` is for machines, `says` for people."""

    name: str
    says: str
    note: bool = False


def budgets(compute_flops: np.ndarray, width: float = WIDTH_OF_A_BUDGET) -> np.ndarray:
    """The budget of each run [rows], numbered from 0 upwards: a budget begins at the smallest compute that
    the one before does not hold, and holds all within the factor `width`."""
    labels = np.empty(len(compute_flops), int)
    start, label = -np.inf, -1
    for row in np.argsort(compute_flops, kind="stable"):
        if compute_flops[row] > width * start or label < 0:
            start, label = compute_flops[row], label + 1
        labels[row] = label
    return labels


def doubts(rows: Rows, law: Law) -> list[Doubt]:
    """Everything odd about the rows that a fit of `law` would read."""
    return [
        *_of_design(rows, law), *_of_sizes(rows, law), *_of_compute(rows), *_of_losses(rows),
        *_of_odd_runs(rows), *_of_copies(rows),
    ]  # fmt: skip


def _of_design(rows: Rows, law: Law) -> Iterator[Doubt]:
    """What the choice of runs cannot show."""
    columns = rows.columns
    if {"params", "tokens"} <= set(columns):
        together = float(np.corrcoef(np.log(columns["params"]), np.log(columns["tokens"]))[0, 1])
        ratio = columns["tokens"] / columns["params"]
        if abs(together) > CONFOUNDED_FROM:
            how = (
                f"all runs have {ratio.min():.3g} to {ratio.max():.3g} tokens a parameter"
                if together > 0
                else "the larger the model, the fewer its tokens, as at one budget"
            )
            yield Doubt(
                "confounded",
                f"params and tokens move together (correlation of logs {together:.3f}): {how}; what size "
                "does and what data do cannot be told apart",
            )
    for name in ("params", "tokens", "params_active"):
        if name in columns and (span := columns[name].max() / columns[name].min()) < NARROW_BELOW:
            yield Doubt(
                f"narrow {name}", f"{name} span a factor of {span:.3g} only; the exponent is hard to see"
            )
    for name in columns:
        values = np.unique(columns[name])
        if name in ("sparsity", "experts", "granularity") and len(values) == 1:
            yield Doubt(
                f"single {name}",
                f"every run has {name} {values[0]:.4g}: what {name} does is left to the priors of the law "
                f"{law.name}",
            )
    sparsity = rows.points.extras.get("sparsity")
    unread = sparsity is not None and not {"sparsity", "experts"} & set(columns)
    if unread and len(np.unique(sparsity)) > 1:
        yield Doubt(
            "unread sparsity",
            f"sparsity runs from {sparsity.min():.4g} to {sparsity.max():.4g}, but the law {law.name} does "
            "not read it: its effect counts as noise; consider --law abnar",
        )


def _of_sizes(rows: Rows, law: Law) -> Iterator[Doubt]:
    """Sizes of another unit, or that contradict each other."""
    columns = rows.columns
    for name, few in (("params", 1e4), ("tokens", 1e5)):
        if name in columns and columns[name].max() < few:
            read = rows.points.column_of(name)
            why = f"if these are millions or billions, name the column so ({name}_M, {name}_B)"
            if read.startswith("C / "):
                why = f"they are {read}; is compute in another unit?"
            yield Doubt(f"small {name}", f"{name} of at most {columns[name].max():.4g}: {why}")
        if name in columns and columns[name].max() > LARGEST[name]:
            yield Doubt(f"large {name}", f"{name} of up to {columns[name].max():.4g}: more than anyone has")
    all_of_them, active = columns.get("params"), rows.points.extras.get("params_active")
    if all_of_them is None or active is None:
        return
    share, sparsity = active / all_of_them, {**rows.points.extras, **columns}.get("sparsity")
    if sparsity is None and share.min() < 0.98 * share.max():
        yield Doubt(
            "unread sparsity",
            f"params_active is {share.min():.2g} to {share.max():.2g} of params, so the runs differ in "
            f"sparsity, but no column gives it and the law {law.name} does not read it: its effect counts as "
            "noise; add sparsity, or experts and active, for the law abnar",
        )
    elif sparsity is not None and (idle := (sparsity > 0.5) & (share > 0.999)).any():
        yield Doubt(
            "active as all",
            f"params_active equals params in {idle.sum()} sparse runs (sparsity of up to "
            f"{sparsity[idle].max():.4g}): is one of the columns a copy of the other?",
        )


def _of_compute(rows: Rows) -> Iterator[Doubt]:
    """What the budgets cannot show, or contradict."""
    compute = rows.points.compute_flops
    if compute is None:
        return
    count = int(budgets(compute).max()) + 1
    if count < FEW_BUDGETS:
        yield Doubt(
            "few budgets",
            f"{'one budget' if count == 1 else f'{count} budgets'} of compute only ({compute.min():.3g} to "
            f"{compute.max():.3g} FLOPs): nothing checks how the law carries over to another",
        )
    varied = len(np.unique(compute)) > 1 and len(np.unique(rows.loss_nats)) > 1
    rank = stats.spearmanr(compute, rows.loss_nats).statistic if varied else 0.0
    if rank > RISING_FROM:
        yield Doubt(
            "rising loss",
            f"losses rise with compute (rank correlation {rank:.2f}): a loss in another unit, a column "
            "read as another, or runs that diverged",
        )
    if {"params", "tokens"} <= set(rows.columns):
        size = rows.points.extras.get("params_active", rows.columns["params"])
        per = float(np.median(compute / size / rows.columns["tokens"]))
        if not 0.05 < per < 500:
            yield Doubt(
                "units of compute",
                f"compute is {per:.3g} times params x tokens (6 is usual): is a unit missing from a column's "
                "name?",
            )
        each = compute / size / rows.columns["tokens"]
        if each.max() > UNEVEN_FROM * each.min():
            which = "params_active" if "params_active" in rows.points.extras else "params"
            yield Doubt(
                "uneven compute",
                f"compute is {each.min():.3g} to {each.max():.3g} times {which} x tokens: the columns do not "
                "fit together in every row",
            )


def _of_losses(rows: Rows) -> Iterator[Doubt]:
    """Losses that measurements seldom give."""
    column = rows.points.column_of(LOSS)
    if column.lower().replace("/", "_").rpartition(".")[2] in TRAINING_LOSS:
        yield Doubt("training loss", f"{column} is a loss on training text, not on held-out text")
    losses = rows.loss_nats
    if losses.max() > HIGHEST_LOSS:
        yield Doubt(
            "high losses",
            f"losses of up to {losses.max():.4g} nats: more than a model that knows nothing makes of 100,000 "
            "tokens: perplexities, or another unit?",
        )
    scale = next((found.scale for found in rows.points.found if found.field == LOSS), 1.0)
    digits = _decimals(losses / scale)
    if digits <= 2:
        yield Doubt(
            "rounded losses",
            f"losses are rounded to {digits or 'no'} decimals: differences below {10.0**-digits:g} are lost",
        )
        return
    configurations = np.stack(list(rows.columns.values()), axis=1)
    pairs, shown = 0, []
    for value in _repeated(losses):
        different = len(np.unique(configurations[losses == value], axis=0))
        if different > 1:
            pairs += different * (different - 1) // 2
            shown.append(value / scale)
    span = max(float(np.ptp(losses / scale)), 10.0**-digits)
    by_chance = len(losses) * (len(losses) - 1) / 2 * 10.0**-digits / span
    if pairs > 3 * by_chance + 0.5:
        listed = ", ".join(f"{value:.10g}" for value in shown[:3]) + (", ..." if len(shown) > 3 else "")
        yield Doubt(
            "equal losses",
            f"runs of different configurations have exactly equal losses ({listed}): copied cells, or a "
            "default where nothing was measured",
        )


def _of_odd_runs(rows: Rows) -> Iterator[Doubt]:
    """Runs whose loss lies far from what a bent plane through the others says, in logarithms."""
    logs = [np.log1p(-v) if name == "sparsity" else np.log(v) for name, v in rows.columns.items()]
    spread = [(v - v.mean()) / v.std() for v in logs if len(np.unique(v)) > 1]
    plane = np.stack([np.ones(len(rows)), *spread, *(v**2 for v in spread)], axis=1)
    if len(rows) < 3 * plane.shape[1]:
        return
    log_loss = np.log(rows.loss_nats)
    weights = np.ones(len(rows))
    for _ in range(50):  # least absolute deviations: one odd run does not draw the plane to itself
        fitted = np.linalg.lstsq(plane * weights[:, None], log_loss * weights, rcond=None)[0]
        off = log_loss - plane @ fitted
        weights = 1 / np.sqrt(np.maximum(np.abs(off), 1e-4))
    bar = max(ODD_FROM * 1.4826 * float(np.median(np.abs(off))), ODD_AT_LEAST)
    odd = np.flatnonzero(np.abs(off) > bar)
    if len(odd):
        worst = odd[np.argmax(np.abs(off[odd]))]
        others = f" ({len(odd) - 1} more like it)" if len(odd) > 1 else ""
        yield Doubt(
            "odd losses",
            f"row {rows.points.numbers[worst]} has a loss of {rows.loss_nats[worst]:.4g} nats where the "
            f"others say about {np.exp(log_loss[worst] - off[worst]):.3g}{others}: a run that diverged, or "
            "another unit? One such run widens every interval; leave it out, or fit with --robust",
        )


def _of_copies(rows: Rows) -> Iterator[Doubt]:
    """Rows twice in the table, and runs repeated on purpose."""
    parts = [*rows.columns.values(), *rows.points.extras.values()]
    configurations = np.stack(parts, axis=1)
    _, of, counts = np.unique(configurations, axis=0, return_inverse=True, return_counts=True)
    seeds = rows.points.seeds
    keys = list(zip(of.tolist(), rows.loss_nats.tolist(), seeds if seeds is not None else of, strict=True))
    seen = Counter[tuple]()
    copied = [
        n for n, key in zip(rows.points.numbers, keys, strict=True) if seen.update([key]) or seen[key] > 1
    ]
    if copied:
        yield Doubt(
            "duplicated rows",
            f"{len(copied)} {'row is a copy' if len(copied) == 1 else 'rows are copies'} of another (row "
            f"{copied[0]} for one): copied runs count twice",
        )
    distinct = {(configuration, loss) for configuration, loss, _ in keys}
    runs = np.bincount([configuration for configuration, _ in distinct])
    repeated = runs[runs > 1]
    if len(repeated):
        what = "differ in their seed" if seeds is not None else "differ in loss alone"
        yield Doubt(
            "replicates",
            f"{len(repeated)} configurations were run more than once ({repeated.sum()} runs that {what}): "
            "the noise of a run is read from them",
            note=True,
        )


def _decimals(values: np.ndarray, most: int = 9) -> int:
    """Decimals that every value needs at most."""
    for digits in range(most):
        if np.allclose(values, np.round(values, digits), rtol=0, atol=1e-9):
            return digits
    return most


def _repeated(values: np.ndarray) -> np.ndarray:
    distinct, counts = np.unique(values, return_counts=True)
    return distinct[counts > 1]
