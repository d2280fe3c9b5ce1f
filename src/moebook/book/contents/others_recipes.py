"""How the best size grows with the budget, by recipe: the runs of Porian et al."""

from __future__ import annotations

from moebook.book.contents.others import fit, refits, share
from moebook.book.say import listed
from moebook.figures import others as figures
from moebook.figures import page

#: From Kaplan's recipe to Hoffmann's, a change a step; each is in both of Porian's corpora.
STEPS = {
    "base long kaplan kaplan train": "Kaplan's recipe",
    "base long kaplan standard val": "last layer counted",
    "base short kaplan standard val": "short warm-up",
    "base short chinchilla standard val": "decay to the budget",
    "tuned short const standard val": "tuned by size",
}
CORPORA = {"rw": "RefinedWeb", "owt2": "OpenWebText2"}


def recipe_figures() -> page.Html:
    """The power of compute with which the best size grows, from Kaplan's recipe to Hoffmann's, by corpus."""
    found = {short: [best_size(f"{short} {step}") for step in STEPS] for short in CORPORA}
    values = [value for rows in found.values() for pair in rows for value in [*pair[0], *(pair[1] or ())]]
    limits = min(values) - 0.03, max(values) + 0.03
    panels = []
    for short, corpus in CORPORA.items():
        series = {
            "law, bootstrap": [boot for boot, _ in found[short]],
            "posterior": [ours for _, ours in found[short]],
        }
        figure = figures.intervals(
            list(STEPS.values()), series, "best size grows as C to this power", None, (0.5, "one half"),
            limits, corpus, 4.0,
        )  # fmt: skip
        panels.append((figure, f"Growth of the best size by recipe, {corpus}: bootstrap and posterior."))
    return page.grid(
        panels, "A few recipes, the first as Kaplan's, the last near Hoffmann's; 90 % intervals."
    )


def best_size(variant: str) -> tuple[figures.Interval, figures.Interval | None]:
    """Of one of Porian's variants, (low, middle, high) by the law's exponents with a bootstrap, and by the
    posterior with misfit; None where its runs do not bracket the best size."""
    found = fit("porian2024", variant, "chinchilla")
    point, ours = found["point"]["best_size"], found["posterior"]["best_size"]
    boot = (point["low"], point["value"], point["high"])
    return boot, (ours["q05"], ours["q50"], ours["q95"]) if ours else None


def recipes_in_words() -> str:
    """Where the power of the best size starts and ends, and where law and posterior disagree; Markdown."""
    lines, apart, narrower, off = [], [], 0, 0
    for short, corpus in CORPORA.items():
        found = {title: best_size(f"{short} {step}") for step, title in STEPS.items()}
        known = {title: (boot, ours) for title, (boot, ours) in found.items() if ours is not None}
        (first, one), *_, (last, other) = ((title, ours) for title, (_, ours) in known.items())
        lines.append(
            f"- **{corpus}:** by the posterior {_ends(one)} for “{first}”, and {_ends(other)} for “{last}”."
        )
        narrower += sum(ours[2] - ours[0] < boot[2] - boot[0] for boot, ours in known.values())
        off += sum(not boot[0] <= ours[1] <= boot[2] for boot, ours in known.values())
        apart += [
            f"{title} on {corpus}" for title, (boot, ours) in known.items()
            if boot[0] > ours[2] or boot[2] < ours[0]
        ]  # fmt: skip
    total = len(STEPS) * len(CORPORA)
    verdict = (
        f"In {len(apart)} of {total} cases, {listed(apart)}, the two intervals do not even touch: there the "
        "law bends another way than the runs, and its exponents carry that on."
        if apart
        else f"In all {total} cases the two intervals overlap, but in {off} the posterior's median lies "
        "outside the bootstrap's interval."
    )
    said = (
        f"The posterior's is the narrower in {narrower}. Among the runs, misfit bends the curve to where "
        "they lie, while the law has few exponents to bend."
    )
    return "\n".join(lines) + f"\n\n{verdict} {said}"


def recipe_table() -> page.Html:
    """Every variant of Porian et al., folded."""
    import pandas as pd

    rows = []
    for name, one in refits()["porian2024"]["parts"].items():
        boot, ours = best_size(name)
        point = fit("porian2024", name, "chinchilla")["point"]
        rows.append(
            {
                "variant": name, "losses": one["rows"], "α": point["coefficients"]["alpha"]["value"],
                "β": point["coefficients"]["beta"]["value"], "β / (α + β)": boot[1],
                "bootstrap": f"{boot[0]:.2f} to {boot[2]:.2f}", "posterior": _ends(ours) if ours else None,
                "left over": share(point["residual_sd"]),
            }
        )  # fmt: skip
    formats = dict.fromkeys(("α", "β", "β / (α + β)"), "{:.2f}")
    return page.table(pd.DataFrame(rows), formats=formats, fold="All variants of Porian et al.")


def _ends(interval: figures.Interval) -> str:
    """0.55 (0.52 to 0.58)."""
    low, middle, high = interval
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
