"""medlangevin demo."""

import click


@click.command()
def demo() -> None:
    """To come."""
