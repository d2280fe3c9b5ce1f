"""The verb `reproduce`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `reproduce`."""
