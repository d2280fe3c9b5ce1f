"""The verb `train`: one model, one run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

BALANCES: dict[str, dict[str, float]] = {"loss": {}, "bias": {"balance_weight": 0.0, "bias_rate": 1e-3}}
EXAMPLE = "Example: moebook train --width 32 --sparsity 0.75 --compute 3e10 --out out/first"


def train(
    width: Annotated[int, typer.Option(help="Residual width d.")] = 32,
    sparsity: Annotated[float, typer.Option(help="S = (E - K) / E; 0 is the dense model.")] = 0.0,
    compute: Annotated[float | None, typer.Option(help="Training budget C in FLOPs.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Training tokens D, instead of --compute.")] = None,
    layers: Annotated[int, typer.Option(help="Depth.")] = 2,
    granularity: Annotated[int, typer.Option(help="G: an expert has 1/G of the feed-forward's width.")] = 2,
    active: Annotated[int, typer.Option(help="K: experts used per token.")] = 2,
    shared_experts: Annotated[
        int, typer.Option(min=0, help="Experts beside them that every token passes; with K + these = G the "
                                      "active FLOPs are the dense model's.")
    ] = 0,
    balance: Annotated[
        str, typer.Option(help="Even the load of experts by a `loss`, or by a `bias` on the choice alone.")
    ] = "loss",
    context: Annotated[int, typer.Option(help="Tokens of a training sequence.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Rate at width 64; scaled by sqrt(64 / d).")] = 4e-3,
    query_key_scale: Annotated[
        float, typer.Option(help="Factor of the initial deviation of the query and key projections.")
    ] = 1.0,
    batch: Annotated[int, typer.Option(help="Sequences of a step.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Decides initial weights and order of the text.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="A folder of .jsonl[.xz|.zst] or .txt files to train on.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for record.json, model.safetensors and checkpoints.")
    ] = Path("out/train"),
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="On a CUDA GPU, compile the model and capture its "
                                                          "step.")
    ] = True,
    scores: Annotated[
        bool, typer.Option("--scores", help="Score the trained model too, in seconds: BLiMP, bits per byte "
                           "on WikiText-2 and on the other corpus, last words of held-out books, key-value "
                           "recall. Results by item go to items.npz.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the texts that --scores needs, up to two levels down; "
                                  "what is not there is downloaded by checksum, or recorded as not "
                                  "measured.")
    ] = None,
    shard: Annotated[
        bool, typer.Option("--shard", help="Share one model among the processes of torchrun (FSDP2), one a "
                           "GPU, or on the CPU: torchrun --nproc-per-node 2 -m moebook train ... --shard")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Train one model on the Python sources of the locked packages, or on a folder of your own.

    Interrupted at any moment and started again with the same options, it goes on where it was.
    """
    from moebook.errors import InputError

    if data is not None and not scores:
        raise InputError(f"train: --data: {data}: only with --scores")
    if (compute is None) == (tokens is None):
        raise InputError("train: --compute, --tokens: give one of the two")
    for name, value in (("--compute", compute), ("--tokens", tokens)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"train: {name}: {value}: must be a positive number")

    from rich.console import Console
    from safetensors.torch import save

    from moebook.architecture import Family, counts
    from moebook.cli.display import score_lines, step_progress
    from moebook.files import canonical_json, check_writable, write_atomic
    from moebook.runs import Record
    from moebook.text import TextSpec, load_text, progress_bars
    from moebook.train import ALONE, Recipe, run_configs, start_processes, train_trunk

    if balance not in BALANCES:
        raise InputError(f"train: --balance: {balance!r}: must be {' or '.join(BALANCES)}")
    family = Family(
        layers=layers, granularity=granularity, active=active, context=context, shared_experts=shared_experts
    )
    model = family.config(width, sparsity)
    recipe = Recipe(
        learning_rate=learning_rate, batch_sequences=batch, query_key_scale=query_key_scale,
        **BALANCES[balance],
    )  # fmt: skip
    batch_tokens = batch * context
    if tokens is None:
        tokens = max(1, round(compute / counts(model).flops_per_token / batch_tokens)) * batch_tokens
    elif tokens % batch_tokens:
        raise InputError(f"train: --tokens: {tokens}: must be a multiple of a batch, {batch_tokens} tokens")
    name = re.sub("[^a-z0-9_.-]+", "-", folder.resolve().name.lower()).strip("-_.") if folder else "packages"
    spec = TextSpec("folder" if folder else "packages", name or "text")
    check_writable(out)
    processes = start_processes(batch) if shard else ALONE
    with progress_bars() as bars, processes.first_before_others():
        text = load_text(spec, folder=folder, progress=bars if processes.first else None)
    (config,) = run_configs(model, recipe, text, seed, [tokens])
    stored = out / "record.json"
    if stored.exists() and Record.from_json(stored.read_bytes(), str(stored)).key != config.key:
        raise InputError(f"{stored}: holds another run than {config.key}: choose another --out")

    score = None
    if scores:
        from moebook.scores import ScoreSpec, Suite

        suite = Suite(ScoreSpec(), text, data)

        def score(trained, config):
            section, items = suite(trained)
            if processes.first:
                write_atomic(out / "items.npz", items)
            return section

    def keep(trained) -> None:
        weights = processes.weights(trained)
        if processes.first:
            write_atomic(out / "model.safetensors", save(weights))

    with step_progress(f"width {width}, S {sparsity:g}", processes.first) as on_progress:
        (record,) = train_trunk(
            model, recipe, text, seed, [tokens], out / "checkpoint", study="", on_progress=on_progress,
            keep_model=keep, compiled=compiled, score=score, processes=processes,
        )
    processes.part()
    if not processes.first:
        return
    write_atomic(out / "record.json", record.to_json())
    if as_json:
        print(canonical_json(record.to_dict()))
    elif record.done:
        measures = record.measures
        Console().print(
            f"done: {measures['loss_nats']:.4f} ± {measures['loss_stderr_nats']:.4f} nats per byte "
            f"({measures['bits_per_byte']:.4f} bits) after {tokens:,} tokens, "
            f"{measures['compute_flops']:.3g} FLOPs, N {measures['params']:,}, "
            f"N_a {measures['params_active']:,}: {out / 'record.json'}",
            soft_wrap=True,
        )
        for line in score_lines(record.scores):
            Console().print(line, soft_wrap=True, highlight=False)
    if not record.done:
        typer.echo(f"{record.status}: {record.reason}", err=True)
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb `train`."""
    app.command(epilog=EXAMPLE)(train)
