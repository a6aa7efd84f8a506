"""medlangevin train."""

import click


@click.command()
def train() -> None:
    """To come."""
