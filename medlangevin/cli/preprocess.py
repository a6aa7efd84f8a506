"""medlangevin preprocess."""

import click


@click.command()
def preprocess() -> None:
    """To come."""
