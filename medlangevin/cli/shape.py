"""medlangevin shape."""

import click


@click.command()
def shape() -> None:
    """To come."""
