"""The verb `book`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `book`."""
