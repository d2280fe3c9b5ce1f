"""The commands, thin: each reads its options, calls one function, prints the result."""

from __future__ import annotations

import importlib
import sys

import typer

from moebook.errors import InputError

VERBS = ("study", "train", "export", "import", "runs", "fit", "optimum", "book", "reproduce")
#: Verbs that share a module; any other has one of its own name.
MODULES = {"export": "exchange", "import": "exchange"}

app = typer.Typer(
    name="moebook",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How sparse should a mixture-of-experts language model be, for a given budget? "
    "Train families of models, keep every run in an open table, fit a Bayesian scaling law, "
    "and read the optimal sparsity off its posterior.",
    epilog="Start with: moebook study plan quick  |  moebook optimum --compute 1e12  |  moebook book build",
)
for _module in dict.fromkeys(MODULES.get(verb, verb) for verb in VERBS):
    importlib.import_module(f"moebook.cli.{_module}").register(app)


def main() -> None:
    """Run the command line; input that cannot be used ends in one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
