"""What the chapters say and show of the runs that tuned the recipe."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from moebook.book.contents.runs import run_table, text_title, texts
from moebook.book.paths import project_root, runs_folder
from moebook.book.say import listed, rounded
from moebook.errors import InputError
from moebook.figures import page
from moebook.figures import tuning as figures
from moebook.figures.style import count_text, flops_text, sparsity_text
from moebook.study import read_study
from moebook.study.batch_rule import fit_batch
from moebook.study.tuning import (
    Anchor,
    RateRule,
    anchors_of_study,
    by_batch,
    fit_rate,
    gains,
    main_recipe,
    regret_nats,
)
from moebook.study.wrong_rate import best_rates

if TYPE_CHECKING:
    import pandas

TUNING = "tuning"
SYMBOLS = {"unsparsity": "1 − S", "params": "N", "tokens": "D", "batch_tokens": "B"}
FACTORS = (0.5, 1.0, 2.0)


def tuning_studies() -> list[str]:
    """Names of the studies whose runs tuned a recipe."""
    table = run_table()
    return sorted(set(table.loc[table["purpose"] == TUNING, "study"]))


def trained_by(study: str) -> str:
    """The study of the table on the text that a tuning study tuned."""
    table = run_table()
    [text] = set(table.loc[table["study"] == study, "text"])
    return f"cpu-{text}"


@cache
def found_anchors(study: str) -> tuple[Anchor, ...]:
    """The anchors of a tuning study."""
    return tuple(anchors_of_study(study, runs_folder()))


@cache
def rate_rule(study: str) -> RateRule:
    """The rule of the anchors trained by the recipe that was kept: that of most of them."""
    return fit_rate(main_recipe(found_anchors(study)))


def tuning_figures(study: str) -> page.Html:
    """Loss against the rate: a panel a budget, width and batch; a line a sparsity."""
    kept, rule = main_recipe(found_anchors(study)), rate_rule(study)
    sparsities = sorted({anchor.sparsity for anchor in kept})
    groups: dict[tuple[str, int, int], list[Anchor]] = {}
    for anchor in kept:
        if len(anchor.rates) > 1:
            name = (flops_text(float(f"{anchor.compute_flops:.1e}")), anchor.width, anchor.batch_tokens)
            groups.setdefault(name, []).append(anchor)
    panels = []
    for (budget, width, batch), members in groups.items():
        title = f"C = {budget}, width {width},\n{batch} bytes a step"
        lines = {a.sparsity: (a.rates, a.losses_nats) for a in members}
        figure = figures.loss_by_rate(lines, sparsities, title, {a.sparsity: rule(a) for a in members})
        panels.append((figure, f"Loss against learning rate, {title.replace(chr(10), ' ')}, by sparsity."))
    return page.grid(
        panels,
        "Held-out loss above the lowest of its line against the learning rate of the recipe (means over "
        "seeds). The ticks at the foot are the rates of the fitted rule.",
    )


def rule_in_words(study: str) -> str:
    """The rule with its errors, and how well it does at its own anchors; Markdown."""
    rule, kept = rate_rule(study), main_recipe(found_anchors(study))
    regrets = [r for a in kept if (r := regret_nats(a, rule(a))) is not None]
    powers = ", ".join(
        f"{SYMBOLS[name]} to the power {_signed(rounded(power, rule.errors[name]))} ± "
        f"{rounded(rule.errors[name], rule.errors[name])}"
        for name, power in rule.powers.items()
    )
    means = ", ".join(
        f"{SYMBOLS[name]} = {mean:.2g}" if name == "unsparsity" else f"{SYMBOLS[name]} = {count_text(mean)}"
        for name, mean in rule.at.items()
    )
    error = 1000 * rule.rate * rule.errors["rate"]
    tried = [anchor for anchor in kept if len(anchor.rates) > 1]
    sparsest = max(tried, key=lambda anchor: anchor.sparsity)
    return (
        f"The fit rests on {rule.runs} runs at {rule.anchors} anchors; at {len(regrets)} of these the best "
        f"rate has worse ones on both sides. The best rate is {rounded(1000 * rule.rate, error)} ± "
        f"{rounded(error, error)} thousandths at {means} (for width 64; a model of width d is trained at "
        f"√(64 / d) times it), and goes as {powers}, with standard errors. Twice or half of the best rate "
        f"costs {rule.curvature_nats:.3f} nats in a dense model and {rule.curvature(sparsest):.3f} at S = "
        f"{sparsity_text(sparsest.sparsity)}. The fit leaves {rule.residual_nats:.3f} nats of runs that "
        "share their seed"
        + (
            f"; at those {len(regrets)} anchors, the rule's rate lies {sum(regrets) / len(regrets):.3f} nats "
            f"above the lowest on average and {max(regrets):.3f} at most."
            if regrets
            else "."
        )
    )


def rates_in_words(study: str, by: str) -> str:
    """The rates that study `by` uses, and how they lie to the rule that `study` found; Markdown."""
    named, rule = read_study(project_root() / "studies" / f"{by}.yml"), rate_rule(study)
    rates: dict[int, tuple[float, set[float]]] = {}
    for block in named.grid:
        batch = block.recipe.batch_sequences * block.family.context
        rates.setdefault(batch, (block.recipe.learning_rate, set()))[1].update(block.budgets)
    used = listed(
        [f"{1000 * rate:g} · (1 − S)^{named.rate_sparsity_power:g} thousandths at {batch:,} bytes a step "
         f"({listed([flops_text(c) for c in sorted(budgets)])} FLOPs)"
         for batch, (rate, budgets) in sorted(rates.items())]
    )  # fmt: skip
    table = run_table()
    runs = table[(table["study"] == by) & (table["purpose"] == "") & (table["status"] == "done")]
    times = runs["learning_rate"].to_numpy() / best_rates(rule, runs)
    tuned = table.loc[(table["study"] == study) & (table["purpose"] == TUNING), "sparsity"].max()
    top = float(runs["sparsity"].max())
    return (
        f"The study's rates are {used}, at every size and for all data. Over its runs these "
        f"are {times.min():.2f} to {times.max():.2f} times the rule's, {np.median(times):.2f} times in the "
        "median"
        + (
            f"; at S = {sparsity_text(top)}, where no rate was tuned, "
            f"{np.median(times[runs['sparsity'] == top]):.2f} times."
            if top > tuned
            else "."
        )
        + (
            " The batch changes with the budget, so that what a larger batch does cannot be told from what a "
            "larger budget does; the table below has what it cost where both were tried."
            if len(rates) > 1
            else ""
        )
    )


def tuning_limits(table: pandas.DataFrame) -> str:
    """On which texts and up to which sparsity the rate was tuned, and what the study has beyond; Markdown."""
    tuned = table[table["purpose"] == TUNING]
    study = table[(table["status"] == "done") & (table["purpose"] == "")]
    lines = []
    for text in texts():
        top, reached = (part.loc[part["text"] == text, "sparsity"].max() for part in (tuned, study))
        if top != top:
            lines.append(f"On {text_title(text)} the rate was not tuned.{_borrowed(table, text)}")
        elif reached > top:
            lines.append(
                f"On {text_title(text)} no rate was tuned above S = {sparsity_text(float(top))}: from there "
                f"to S = {sparsity_text(float(reached))} the rule is extrapolated."
            )
    return " ".join(lines)


def _borrowed(table: pandas.DataFrame, text: str) -> str:
    """A sentence where the runs of a text have the rates of a recipe that another text has given up."""
    rates = ["sparsity", "learning_rate", "batch_tokens"]
    mine = table[(table["text"] == text) & (table["purpose"] == "")]
    given_up = table[table["purpose"] == "first-recipe"]
    shared = mine[rates].drop_duplicates().merge(given_up[rates].drop_duplicates())
    if shared.empty:
        return ""
    other = listed([text_title(name) for name in sorted(set(given_up["text"]))])
    return (
        f" It is that of the earlier recipe, whose {len(given_up)} runs on {other} were set aside; its fall "
        "with sparsity was a guess, and a wrong one would bend the comparison of sparsities there."
    )


def _signed(number: str) -> str:
    return number.replace("-", "−")


def batch_table(study: str) -> page.Html:
    """What a larger batch costs, each at its best rate of those tried."""
    import pandas as pd

    rows = [
        {
            "C (FLOPs)": flops_text(pair["compute_flops"]), "width": pair["width"],
            "S": sparsity_text(pair["sparsity"]),
            "bytes a step": f"{pair['larger']} for {pair['smaller']}",
            "costs": f"{pair['cost_nats']:+.3f}".replace("-", "−"),
        }
        for pair in by_batch(main_recipe(found_anchors(study)))
    ]  # fmt: skip
    if not rows:
        return page.Html("")
    return page.table(
        pd.DataFrame(rows, columns=["C (FLOPs)", "width", "S", "bytes a step", "costs"]),
        "What a larger batch costs (nats per byte), each at its best rate of those tried",
    )


def batch_rule_in_words(study: str) -> str:
    """From which budget on the larger batch is no worse, with what the line leaves; Markdown."""
    try:
        rule = fit_batch(by_batch(main_recipe(found_anchors(study))))
    except InputError:
        return ""
    low, high = (10 ** (np.log10(rule.switch_flops) + s * rule.switch_decades_error) for s in (-1, 1))

    def about(flops: float) -> str:
        return flops_text(float(f"{flops:.0e}"))

    return (
        f"A line through these costs against the logarithm of the budget, {rule.pairs} pairs, falls by "
        f"{-rule.per_decade_nats:.3f} ± {rule.per_decade_error_nats:.3f} nats with ten times the budget and "
        f"leaves {rule.residual_nats:.3f} nats. It crosses zero at {about(rule.switch_flops)} FLOPs "
        f"(one standard error: {about(low)} to {about(high)}): the rule is"
        f" {rule.smaller:,} bytes a step below, {rule.larger:,} from there on."
    )


def wrong_rates(study: str, by: str) -> list[dict[str, Any]]:
    """`gains` at half, once and twice the rates of study `by`, where it trains such a batch."""
    named = read_study(project_root() / "studies" / f"{by}.yml")
    recipes = {
        block.recipe.batch_sequences * block.family.context: block.recipe for block in reversed(named.grid)
    }
    kept = [anchor for anchor in main_recipe(found_anchors(study)) if anchor.batch_tokens in recipes]

    def used(anchor: Anchor) -> float:
        return named.recipe_at(recipes[anchor.batch_tokens], anchor.sparsity).learning_rate

    return gains(kept, rate_rule(study), used, FACTORS)


def wrong_rate_table(study: str, by: str) -> page.Html:
    """What sparsity gains over dense at half, once and twice the rate of study `by`, by budget and width."""
    import pandas as pd

    rows = []
    for each in wrong_rates(study, by):
        rows += [
            {"C (FLOPs)": flops_text(each["compute_flops"]), "width": each["width"],
             "bytes a step": each["batch_tokens"], "S": sparsity_text(s),
             "rate": f"× {each['factor']:g}", "gain": round(gain, 3) + 0.0}  # no -0.000
            for s, gain in each["gain_nats"].items() if s > 0
        ]  # fmt: skip
    cell = ["C (FLOPs)", "width", "bytes a step", "S"]
    frame = pd.DataFrame(rows, columns=[*cell, "rate", "gain"])
    wide = frame.pivot_table(index=cell, columns="rate", values="gain", sort=False)
    wide = wide.reindex(columns=[f"× {factor:g}" for factor in FACTORS]).reset_index()
    return page.table(
        wide.rename_axis(columns=None),
        "What sparsity gains over the dense model of the same width (nats per byte), had every rate been "
        "half, once or twice that of the study; by the fitted parabolas",
        {f"× {factor:g}": "{:.3f}" for factor in FACTORS},
    )


def wrong_rate_in_words(study: str, by: str) -> str:
    """Whether half or twice the rates would have named another of the sparsities the best; Markdown."""
    found: dict[tuple[float, int, int], dict[float, dict[float, float]]] = {}
    for each in wrong_rates(study, by):
        cell = each["compute_flops"], each["width"], each["batch_tokens"]
        found.setdefault(cell, {})[each["factor"]] = each["gain_nats"]
    if not found:
        return "No two sparsities were tuned at one budget and width."
    moved = [max(abs(of[f][s] - of[1.0][s]) for f in FACTORS for s in of[1.0]) for of in found.values()]
    best = [{f: max(of[f], key=lambda s: of[f][s]) for f in FACTORS} for of in found.values()]  # noqa: B023
    other = sum(len(set(each.values())) > 1 for each in best)
    return (
        f"A rate of half or twice the study's moves what sparsity gains by {max(moved):.3f} nats at most, "
        "and "
        + (
            f"names another of the tuned sparsities the best in {other} of {len(found)} cells."
            if other
            else f"names the same of the tuned sparsities the best in all {len(found)} cells."
        )
    )
