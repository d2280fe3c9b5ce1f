"""The verbs `export` and `import`: a model to and from Hugging Face transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXPORT = "Example: moebook export out/first --to hf out/hf"
IMPORT = "Example: moebook import out/hf --from hf --out out/again"


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder that moebook train, or moebook import, wrote.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    to: Annotated[str, typer.Option(help="Form to write: hf (transformers' OlmoeForCausalLM).")] = "hf",
    force: Annotated[
        bool, typer.Option("--force", help="Delete what DIR holds, unless it holds RUN or you are in it.")
    ] = False,
) -> None:
    """Write a trained model as a checkpoint that AutoModelForCausalLM and AutoTokenizer load.

    The folder has a model card and a tokenizer of bytes. It is the same function, up to rounding.
    An earlier export, unchanged, is replaced; other files are not, but for --force.
    """
    _only_hf("export: --to", to)

    from moebook.model.exchange import to_olmoe
    from moebook.model.folder import check_replaceable
    from moebook.model.stored import load_run

    check_replaceable(folder, force, source=run)
    stored = load_run(run)
    names = to_olmoe(stored.model, folder, record=stored.record, force=force)
    loaded = {"model": "AutoModelForCausalLM"}
    if "tokenizer.json" in names:
        loaded["tokenizer"] = "AutoTokenizer"
    calls = (f"{name}.from_pretrained({str(folder)!r})" for name in loaded.values())
    typer.echo(f"written: {folder} ({', '.join(names)}). Load it:\n")
    typer.echo(f"from transformers import {', '.join(loaded.values())}")
    typer.echo(f"{', '.join(loaded)} = {', '.join(calls)}")


def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that transformers or export wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for model.safetensors and config.json.")],
    from_: Annotated[
        str, typer.Option("--from", help="Form to read: hf (transformers' OlmoeForCausalLM).")
    ] = "hf",
    force: Annotated[
        bool, typer.Option("--force", help="Delete what the --out folder holds, unless you are in it.")
    ] = False,
) -> None:
    """Read an OlmoeForCausalLM checkpoint into a folder that moebook export takes too.

    A model that ours cannot be (biases, grouped queries, scaled positions...) is refused, never bent.
    It has no record of a run, and gets none.
    """
    _only_hf("import: --from", from_)

    from moebook.model.exchange import from_olmoe
    from moebook.model.folder import check_replaceable
    from moebook.model.stored import save_model

    check_replaceable(out, force, source=folder)
    names = save_model(from_olmoe(folder), out, force=force)
    typer.echo(f"written: {out} ({', '.join(names)}). Load it:\n")
    typer.echo("from moebook.model.stored import load_run")
    typer.echo(f"model = load_run({str(out)!r}).model")


def _only_hf(option: str, value: str) -> None:
    from moebook.errors import InputError

    if value != "hf":
        raise InputError(f"{option}: {value}: only hf is known")


def register(app: typer.Typer) -> None:
    """Add the verbs `export` and `import`."""
    app.command(epilog=EXPORT)(export)
    app.command("import", epilog=IMPORT)(import_)
