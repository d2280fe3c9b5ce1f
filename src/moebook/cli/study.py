"""The verb `study`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `study`."""
