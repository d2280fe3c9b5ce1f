"""The commands, thin: each reads its options, calls one function, prints the result."""

from __future__ import annotations

import errno
import importlib
import os
import sys

import typer

from moebook.errors import InputError

VERBS = (
    "study", "train", "export", "import", "runs", "fit", "calibrate", "forecast", "judge", "compare", "score",
    "refit", "optimum", "downstream", "book", "reproduce",
)  # fmt: skip
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
#: Typer's own error for a wrong command line, whichever library it takes it from.
_MISUSE = typer.BadParameter.__mro__[2]

try:
    for _module in dict.fromkeys(MODULES.get(verb, verb) for verb in VERBS):
        importlib.import_module(f"moebook.cli.{_module}").register(app)
except KeyboardInterrupt:  # as at any later moment
    sys.exit(130)


def main() -> None:
    """Run the command line; what cannot be used ends in one line and exit code 2."""
    try:
        code = app(standalone_mode=False) or 0
        if sys.stdout:  # a shell may have closed it
            sys.stdout.flush()
        sys.exit(code)
    except InputError as error:
        _refuse(str(error))
    except typer.Abort:
        sys.exit(1)
    except BrokenPipeError:  # who read this has read enough
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        _refuse(f"{error.filename or 'output'}: {error.strerror}")
    except _MISUSE as error:
        if "NoArgs" in type(error).__name__:  # a group of verbs without one: its help, as asked
            error.show()
            sys.exit(2)
        _refuse(misuse(error))


def misuse(error: Exception) -> str:
    """A wrong option or argument in one line that names the verb, says what is wrong and where help is."""
    words = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    verb = " ".join(context.command_path.split()[1:]) if context else ""
    verb = verb.removeprefix("-m moebook").strip()
    where = f"moebook {verb} --help" if verb else "moebook --help"
    return f"{verb}: {words}; see {where}" if verb else f"{words}; see {where}"


def _drop_output() -> None:
    """What still waits to be printed would fail once more at the very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(line: str) -> None:
    """One line, whatever a file or a value is called: what breaks lines or drives a terminal is spelt out."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"error: {plain}", file=sys.stderr)
    sys.exit(2)
