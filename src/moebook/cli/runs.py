"""The verb `runs`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `runs`."""
