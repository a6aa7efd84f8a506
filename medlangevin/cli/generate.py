"""medlangevin generate."""

import click


@click.command()
def generate() -> None:
    """To come."""
