"""The verb `optimum`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the verb `optimum`."""
