"""How wrong the laws of others are: forms compared, a size held out, misfit beside noise."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from moebook.book.contents.others import ROUTERS, fit, main_fits, part, refits, share, title_of
from moebook.book.contents.others_recipes import CORPORA
from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.say import listed
from moebook.errors import InputError
from moebook.figures import others as figures
from moebook.figures import page
from moebook.figures.style import percent

FORMS = {
    "clark-separable": "separable", "clark-bilinear": "with the mixed term",
    "clark": "with the mixed term and saturation",
}  # fmt: skip


def split_in_words() -> str:
    """What is left over, as the posterior splits it into misfit and noise; Markdown."""
    lines = []
    for table, name, _, one in main_fits():
        misfit, noise = one["posterior"]["misfit"], one["posterior"]["quantities"]["noise_scale"]
        lines.append(
            f"- **{title_of(table, name)}:** the best curve misses the runs by "
            f"{share(one['point']['residual_sd'])} of the loss. The posterior calls {share(misfit['q50'])} "
            f"misfit and {share(noise['q50'])} noise."
        )
    return "\n".join(lines)


def form_table() -> page.Html:
    """Three forms of Clark's law on the same runs: what each leaves over, and which predicts a run better."""
    import pandas as pd

    rows = []
    for law, title in FORMS.items():
        row: dict[str, Any] = {"form": title}
        for name in ROUTERS:
            row[name] = share(fit("clark2022", name, law)["point"]["residual_sd"])
        for name in ROUTERS:
            row[f"weight, {name}"] = f"{part('clark2022', name)['comparison'][law]['weight']:.2f}"
        rows.append(row)
    return page.table(
        pd.DataFrame(rows), "What each form leaves over, and the weight of its posterior", wrap=("form",)
    )


def forms_in_words() -> str:
    """Whether the runs ask for each further term, by point fit and by leave-one-out; Markdown."""
    names = list(FORMS)
    gains = [
        1 - fit("clark2022", r, b)["point"]["residual_sd"] / fit("clark2022", r, a)["point"]["residual_sd"]
        for a, b in zip(names, names[1:], strict=False)
        for r in ROUTERS
    ]
    mixed, saturation = gains[: len(ROUTERS)], gains[len(ROUTERS) :]
    clear, doubtful = [], 0
    for router in ROUTERS:
        compared = part("clark2022", router)["comparison"]
        worse = [one for one in compared.values() if one["difference"] < -2 * max(one["error"], 1e-9)]
        clear += [router] if len(worse) == len(compared) - 1 else []
        doubtful += sum(one["doubtful"] for one in compared.values())
    said = (
        f"The mixed term takes {_range(mixed)} off what is left over, saturation another "
        f"{_range(saturation)}. "
    )
    verdict = (
        f"But once misfit is part of the model, leaving runs out one at a time tells the forms apart "
        f"clearly for {listed(clear) if clear else 'none of the routers'}: "
        "what a simpler form gets wrong, its misfit learns. The weights in the table can be near one all the "
        "same: they ask which mixture predicts best, not by how much."
        if len(clear) < len(ROUTERS)
        else "Leaving runs out one at a time, with misfit in the model, says the same for every router."
    )
    return said + verdict + (
        f" ({doubtful} runs weigh too much for that to be exact.)" if doubtful else ""
    )  # fmt: skip


def held_out_figure() -> page.Html:
    """The largest size forecast from the smaller ones: bootstrap with noise, and posterior."""
    series: dict[str, list[Any]] = {"bootstrap and noise": [], "posterior": []}
    for name in ROUTERS:
        held = _held_out(name)
        for title, key in zip(series, ("bootstrap", "posterior"), strict=True):
            one = held[key]
            series[title].append(tuple(100 * np.expm1(one[end]) for end in ("low", "middle", "high")))
    figure = figures.intervals(
        list(ROUTERS), series, "forecast loss over measured loss, minus one (%)", None, (0.0, "as measured")
    )
    return page.show(
        figure, "Forecast intervals of the largest size for each router, against what was measured.",
        "The largest size, forecast from the smaller ones: 90 % intervals of a run, averaged over its runs.",
    )  # fmt: skip


def held_out_in_words() -> str:
    """By how much the law misses the size that was held out, and which intervals knew; Markdown."""
    lines, nearer = [], 0
    for name in ROUTERS:
        held = _held_out(name)
        boot, ours, rows = held["bootstrap"], held["posterior"], held["rows"]
        nearer += abs(ours["middle"]) < abs(boot["middle"])
        direction = "low" if held["miss"] < 0 else "high"
        lines.append(
            f"- **{name}:** fitted to {held['fitted']} smaller runs, the point fit is "
            f"{abs(100 * np.expm1(held['miss'])):.1f} % too {direction} for the {rows} largest, "
            f"{held['miss_rmse']:.1f} times what it misses the smaller ones by. The 90 % interval of a run "
            f"goes from {_off(boot['low'])} to {_off(boot['high'])} by the bootstrap and holds "
            f"{boot['inside']} of {rows}; by the posterior, from {_off(ours['low'])} to "
            f"{_off(ours['high'])}, and holds {ours['inside']} of {rows}."
        )
    said = f"The posterior's middle is nearer to what was measured for {nearer} of {len(ROUTERS)} routers."
    return "\n".join(lines) + f"\n\n{said}"


def _held_out(router: str) -> dict[str, Any]:
    held = part("clark2022", router)["held_out"]
    if "posterior" not in held:
        raise InputError(f"refits: clark2022, {router}: held_out: the posterior failed a gate")
    return held

@cache
def own_spread(text: str) -> dict[str, float]:
    """The same of this book's runs on a text: what Abnar's law leaves over, misfit, noise, and seeds; shares
    of the loss."""
    from moebook.bayes.point import LN_10, point_fit
    from moebook.book.contents.curves import posterior
    from moebook.book.paths import runs_folder
    from moebook.book.profiles import done_runs
    from moebook.reproduce.compare import seed_deviation_nats
    from moebook.runs.store import Store

    table = done_runs(run_table())
    rows = table[table["text"] == text]
    found = posterior(text)
    misfit = found.residual(misfit=False) - found.residual(misfit=True)
    seeds = seed_deviation_nats(Store(runs_folder()).load(text))
    return {
        "left over": point_fit(found.law, rows, starts=4).rmse * LN_10,
        "misfit": float(np.median(misfit.std(axis=1))),
        "noise": float(np.median(found.draws("noise_scale"))),
        "seeds": seeds / float(rows["loss_nats"].median()),
    }


def spread_rows() -> dict[str, list[dict[str, float]]]:
    """What laws leave over, in every table: {row of the figure: [of a fit]}."""
    seed = refits()["clark2022"]["seed_noise"]["relative"]
    rows: dict[str, list[dict[str, float]]] = {}
    for table, name, _, one in main_fits():
        rows[title_of(table, name)] = [
            _spread(one) | ({"seeds": seed} if table == "clark2022" else {})
        ]
    for short, corpus in CORPORA.items():
        names = [name for name in refits()["porian2024"]["parts"] if name.split()[0] == short]
        rows[f"Porian, {corpus}"] = [_spread(fit("porian2024", name, "chinchilla")) for name in names]
    for text in texts():
        rows[f"ours, {text_title(text)}"] = [own_spread(text)]
    return rows


def _spread(one: dict[str, Any]) -> dict[str, float]:
    return {
        "left over": one["point"]["residual_sd"], "misfit": one["posterior"]["misfit"]["q50"],
        "noise": one["posterior"]["quantities"]["noise_scale"]["q50"],
    }  # fmt: skip


def spread_of_laws_figure() -> page.Html:
    """What the law leaves over in each table, its misfit, its noise, and the noise of seeds."""
    rows = spread_rows()
    names = {
        "left over by the point fit": "left over", "misfit, posterior": "misfit",
        "noise, posterior": "noise", "between seeds": "seeds",
    }  # fmt: skip
    series = {
        title: [[one[key] for one in fits if key in one] for fits in rows.values()]
        for title, key in names.items()
    }
    return page.show(
        figures.spreads(list(rows), series, "share of the loss"),
        "What each law leaves over in each table, its misfit and noise, beside the noise between seeds.",
        "How wrong a law is, table by table. Porian's rows hold a mark for each variant.",
    )


def spread_of_laws_in_words() -> str:
    """How many times the noise of seeds a law misses by, where seeds were repeated; Markdown."""
    rows = spread_rows()
    times = {
        title: [one["left over"] / one["seeds"] for one in fits if "seeds" in one]
        for title, fits in rows.items()
    }
    clark = [value for title, values in times.items() if title.startswith("Clark") for value in values]
    porian = [
        one["left over"] for title, fits in rows.items() if title.startswith("Porian") for one in fits
    ]
    ours = [
        f"{value:.1f} times on {title.removeprefix('ours, ')}"
        for title, values in times.items() if title.startswith("ours")
        for value in values
    ]  # fmt: skip
    quiet = all(
        value < 2 for title, values in times.items() if title.startswith("ours") for value in values
    )
    return (
        f"Clark's law misses by {min(clark):.0f} to {max(clark):.0f} times what another seed changes. For "
        f"Porian's variants, whose sizes span far more, {share(min(porian))} to {share(max(porian))} of the "
        f"loss are left over. For the small models of this book it is {listed(ours)}"
        + (": about the noise itself, so that here the comparison says little of the law" * quiet)
        + ". An interval that knows only the noise of seeds is far too narrow wherever the law does the "
        "talking."
    )


def _off(log_ratio: float) -> str:
    """A forecast over what was measured, in percent with its sign."""
    return f"{100 * np.expm1(log_ratio):+.1f} %".replace("-", "−")


def _range(shares: list[float]) -> str:
    return f"{percent(min(shares))} to {percent(max(shares))}"
