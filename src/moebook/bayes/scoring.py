"""How good forecasts were: coverage, CRPS and log score, by origin, by table, and over tables.

Scores are of log loss. Points of one table share one error, and tables of one source share runs, so that
points are not what certifies a forecaster: a table's figure is the mean over its origins of the mean over
points, the pooled figure is the mean over tables, and its interval comes from drawing tables again, or whole
groups of tables that share runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moebook.bayes.mixture import Mixture

#: Shares of the belief whose intervals are judged.
LEVELS = (0.5, 0.9)
FIGURES = ("coverage_50", "coverage_90", "crps", "log_score")
FORECASTERS = ("model", "bootstrap")
#: Which points of which origins: rows below the top asked from below it; the top from all below it; and
#: whatever lies above an origin, from every origin.
PARTS = ("inner", "top", "all")
#: How far above the largest fitted budget a point lies, as a factor: edges of bins.
DISTANCES = (1.0, 2.0, 5.0, 20.0, float("inf"))
RESAMPLED = 2000
DIGITS = 6  # significant, of what is stored


def scores(forecast: Mixture, log_loss: np.ndarray) -> dict[str, list[float]]:
    """{pit, crps, log_score: [points]} of what happened, to a few digits."""
    found = {
        "pit": forecast.pit(log_loss),
        "crps": forecast.crps(log_loss),
        "log_score": forecast.log_density(log_loss),
    }
    return {name: [float(f"{x:.{DIGITS}g}") for x in values] for name, values in found.items()}


def figures(points: Mapping[str, Sequence[float]], chosen: np.ndarray) -> dict[str, float]:
    """FIGURES over some points of `scores`; chosen: booleans [points]."""
    pit = np.abs(np.asarray(points["pit"])[chosen] - 0.5)
    found = {f"coverage_{100 * level:.0f}": float(np.mean(pit < level / 2)) for level in LEVELS}
    return found | {name: float(np.mean(np.asarray(points[name])[chosen])) for name in ("crps", "log_score")}


def of_part(result: Mapping[str, Any], part: str) -> np.ndarray | None:
    """Which points of a stored result belong to one of PARTS [points], or None if none do."""
    top = np.asarray(result["points"]["top"], dtype=bool)
    if part == "inner":
        return ~top if result["kind"] == "inner" else None
    if part == "top":
        return top if result["kind"] == "top" else None
    return np.ones(len(top), dtype=bool)


def by_table(results: Sequence[Mapping[str, Any]], part: str) -> dict[str, dict[str, Any]]:
    """{table: {group, origins, points, model: FIGURES, bootstrap: FIGURES}}, means over its origins."""
    tables: dict[str, dict[str, Any]] = {}
    for result in results:
        chosen = of_part(result, part)
        if chosen is None:
            continue
        table = tables.setdefault(
            result["table"],
            {"group": result["group"], "origins": 0, "points": 0, **{name: [] for name in FORECASTERS}},
        )
        table["origins"] += 1
        table["points"] += int(chosen.sum())
        for name in FORECASTERS:
            table[name].append(figures(result["points"][name], chosen))
    for table in tables.values():
        for name in FORECASTERS:
            table[name] = {f: float(np.mean([one[f] for one in table[name]])) for f in FIGURES}
    return tables


def held(results: Sequence[Mapping[str, Any]], level: float, who: str = "model") -> tuple[float, int]:
    """(share of the runs above the fitted budgets that intervals of `level` held, number of tables): the mean
    over tables of the mean over their origins, at any level."""
    of_table: dict[str, list[float]] = {}
    for result in results:
        pit = np.asarray(result["points"][who]["pit"])
        of_table.setdefault(result["table"], []).append(float(np.mean(np.abs(pit - 0.5) < level / 2)))
    return float(np.mean([np.mean(shares) for shares in of_table.values()])), len(of_table)


def pooled(tables: Mapping[str, Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Over tables of `by_table`: {figure: {value, tables: [5 %, 95 %], groups: [5 %, 95 %]}}.

    Figures: those of each forecaster (`model.crps`, ...); crps_ratio: the model's mean over the bootstrap's;
    crps_ratio_geometric: geometric mean of the tables' ratios; log_score_better: share of tables on which
    the model has the better log score. Intervals from tables drawn again, and from groups drawn again.
    """
    names = list(tables)
    values = np.array([[tables[n][who][f] for who in FORECASTERS for f in FIGURES] for n in names])
    groups = np.array([tables[n]["group"] for n in names])
    members = [np.flatnonzero(groups == g) for g in dict.fromkeys(groups.tolist())]
    rng = np.random.default_rng(seed)
    drawn = {
        "tables": [rng.integers(0, len(names), len(names)) for _ in range(RESAMPLED)],
        "groups": [
            np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
            for _ in range(RESAMPLED)
        ],
    }
    found: dict[str, Any] = {"tables": len(names), "groups": len(members)}
    for name, figure in _pooled_figures().items():
        ends = {}
        for kind, draws in drawn.items():
            spread = np.quantile([figure(values[rows]) for rows in draws], [0.05, 0.95])
            ends[kind] = [float(end) for end in spread]
        found[name] = {"value": float(figure(values)), **ends}
    return found


def _pooled_figures() -> dict[str, Callable[[np.ndarray], float]]:
    """Each a function of values [tables, forecasters x FIGURES]."""
    column = {f"{who}.{f}": i for i, (who, f) in enumerate((w, f) for w in FORECASTERS for f in FIGURES)}
    plain = {name: (lambda v, i=i: v[:, i].mean()) for name, i in column.items()}
    model, other = column["model.crps"], column["bootstrap.crps"]
    log_model, log_other = column["model.log_score"], column["bootstrap.log_score"]
    return {
        **plain,
        "crps_ratio": lambda v: v[:, model].mean() / v[:, other].mean(),
        "crps_ratio_geometric": lambda v: np.exp(np.mean(np.log(v[:, model] / v[:, other]))),
        "log_score_better": lambda v: np.mean(v[:, log_model] > v[:, log_other]),
    }


def by_distance(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures by how far above the largest fitted budget a point lies; a bin is the mean over the tables that
    have points in it. [{from, to, tables, points, model: FIGURES, bootstrap: FIGURES}]"""
    bins = []
    for low, high in zip(DISTANCES, DISTANCES[1:], strict=False):
        of_tables: dict[str, list[tuple[Mapping[str, Any], np.ndarray]]] = {}
        for result in results:
            beyond = np.asarray(result["points"]["beyond"])
            chosen = (beyond > low) & (beyond <= high)
            if chosen.any():
                of_tables.setdefault(result["table"], []).append((result["points"], chosen))
        if not of_tables:
            continue
        points = sum(int(chosen.sum()) for parts in of_tables.values() for _, chosen in parts)
        row: dict[str, Any] = {
            "from": low, "to": high if np.isfinite(high) else None, "tables": len(of_tables), "points": points
        }  # fmt: skip
        for who in FORECASTERS:
            each = [
                [figures(of[who], chosen) for of, chosen in parts] for parts in of_tables.values()
            ]
            row[who] = {
                f: float(np.mean([np.mean([one[f] for one in parts]) for parts in each])) for f in FIGURES
            }
        bins.append(row)
    return bins


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a scored set of tables comes to: {part: {tables, pooled}} for each of PARTS that has results, and
    `distance`; for each group of tables, its own means."""
    found: dict[str, Any] = {}
    for part in PARTS:
        tables = by_table(results, part)
        if tables:
            found[part] = {"tables": tables, "groups": _by_group(tables), "pooled": pooled(tables)}
    return {**found, "distance": by_distance(results)}


def _by_group(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for table in tables.values():
        groups.setdefault(table["group"], []).append(table)
    return {
        group: {"tables": len(members)}
        | {who: {f: float(np.mean([m[who][f] for m in members])) for f in FIGURES} for who in FORECASTERS}
        for group, members in groups.items()
    }
