"""The verb `study tune`: a rule for rate and batch out of tuning runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def tune(
    name: Annotated[str, typer.Argument(help="A study of the folder studies, or a path to a .yml file.")],
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds `records`.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Fit a rule for the learning rate to the runs of a tuning study, and say what a larger batch costs.

    What counts are the study's runs that are done, and those of other studies that differ from one of them
    in rate and seed alone; nothing is trained. The rule is fitted to the anchors of the recipe that most
    have; what another has otherwise is said in its row. The rate is a recipe's `learning_rate`; --json prints
    the anchors and the rule.

    Example: moebook study tune tune-english
    """
    from moebook.study.spec import find_study, read_study
    from moebook.study.tuning import (
        anchors_of_study,
        by_batch,
        differences,
        fit_rate,
        main_recipe,
        regret_nats,
    )

    study = read_study(find_study(name))
    found = anchors_of_study(study.name, runs)
    kept = main_recipe(found)
    rule = fit_rate(kept)
    batches = by_batch(kept)
    if as_json:
        report = {"anchors": [asdict(a) for a in found], "rule": asdict(rule), "batches": batches}
        typer.echo(json.dumps(report, allow_nan=False))
        return
    from moebook.cli.tables import compact, print_table

    rows = []
    for a in found:
        other = differences(a, kept[0])
        regret = None if other else regret_nats(a, rule(a))
        tried = " ".join(f"{r:.2g}:{loss:.3f}" for r, loss in zip(a.rates, a.losses_nats, strict=True))
        rows.append(
            [tried, f"{a.compute_flops:.2g}", str(a.width), f"{a.sparsity:.5g}", compact(a.batch_tokens),
             f"{a.best_rate:.2g}" + ("" if a.bracketed else " edge"), "" if other else f"{rule(a):.2g}",
             "" if regret is None else f"{regret:.4f}", other]
        )  # fmt: skip
    names = ("rate:loss", "C", "width", "S", "batch", "best", "rule", "above its lowest", "recipe")
    print_table(names, rows, left=1, caption="C in FLOPs, batch in tokens, loss in nats a token; recipe: "
                "what is not as at most anchors")  # fmt: skip
    powers = {"params": "N", "tokens": "D", "unsparsity": "(1 - S)", "batch_tokens": "B"}
    of = " ".join(
        f"* ({powers[n]} / {rule.at[n]:.3g})^{p:.2f}+-{rule.errors[n]:.2f}" for n, p in rule.powers.items()
    )
    typer.echo(f"rate = {rule.rate:.3g} {of}")
    typer.echo(
        f"twice or half of it costs {rule.curvature_nats:.4f} nats where dense, "
        f"{rule.curvature_growth_nats:+.4f} with each halving of 1 - S; the fit of {rule.runs} runs at "
        f"{rule.anchors} anchors leaves {rule.residual_nats:.4f} nats"
    )
    for b in batches:
        typer.echo(
            f"C {b['compute_flops']:.2g}, width {b['width']}, S {b['sparsity']:.4g}: a batch of "
            f"{b['larger']} tokens in place of {b['smaller']} costs {b['cost_nats']:+.4f} nats"
            + ("" if b["bracketed"] else " (a best rate at the edge)")
        )
