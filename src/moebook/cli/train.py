"""The verb `train`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `train`."""
