"""medlangevin phantom."""

import click


@click.command()
def phantom() -> None:
    """To come."""
