"""The arguments and options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

run_argument = click.argument("run", type=click.Path(path_type=Path))
checkpoint_option = click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
refine_option = click.option(
    "--refine/--no-refine",
    default=True,
    show_default=True,
    help="Find the latent of an ear by gradients at the ear itself, seconds each, or take the encoder's word for it.",
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="all cores", help="Processes."
)


def seed_option(help_text: str) -> Callable[[Command], Command]:
    """Declare ``--seed``: a whole number that a JSON file of ours can hold, so that no work is lost at its end.

    Args:
        help_text: What the seed decides.

    Returns:
        The decorator of the command.
    """
    bits = 63
    return click.option(
        "--seed", type=click.IntRange(1 - 2**bits, 2**bits - 1), default=0, show_default=True, help=help_text
    )


def path_option(*names: str, **given: Any) -> Callable[[Command], Command]:
    """Declare an option that takes a path.

    Args:
        names: What the option is called.
        given: The other arguments of ``click.option``.

    Returns:
        The decorator of the command.
    """
    return click.option(*names, type=click.Path(path_type=Path), **given)
