"""medlangevin toy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from medlangevin.cli.options import path_option

_STEPS = click.option(
    "--steps",
    type=click.IntRange(min=30),
    default=3000,
    show_default=True,
    help="Steps of each chain; the first third is dropped.",
)
_SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same numbers."
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    return path_option("--out", required=True, help="Folder to write to.")(_SEED(_STEPS(command)))


@click.group()
def toy() -> None:
    """Test Langevin samplers on posteriors whose truth is known, with a number for every panel.

    \b
    Example:
      medlangevin toy gaussian --out toys/
      medlangevin toy neural --out toys/
    """


@toy.command()
@_options
def gaussian(**options: Any) -> None:
    """Three Gaussian posteriors: amortized Langevin dynamics with 2, 3, 8 and 128 features.

    After Figure 2 of the Langevin autoencoder paper. Writes toy_gaussian.png, toy_gaussian_samples.csv,
    toy_gaussian_metrics.csv and toy_gaussian_settings.json, which says what the columns mean. Takes a minute.

    \b
    Example:
      medlangevin toy gaussian --out toys/ --steps 3000
    """
    _report("gaussian", **options)


@toy.command()
@_options
def neural(**options: Any) -> None:
    """Three posteriors under a neural likelihood: amortized Langevin dynamics, MALA, variational inference.

    After Figure 3 of the Langevin autoencoder paper. Writes toy_neural.png, toy_neural_samples.csv,
    toy_neural_metrics.csv and toy_neural_settings.json, which says what the columns mean. Takes a minute.

    \b
    Example:
      medlangevin toy neural --out toys/ --steps 3000
    """
    _report("neural", **options)


def _report(name: Literal["gaussian", "neural"], out: Path, seed: int, steps: int) -> None:
    from medlangevin.papers.toy.results import format_result, report_toy

    click.echo(format_result(report_toy(name, out, seed=seed, steps=steps)))
    click.echo(f"picture {out / f'toy_{name}.png'}")
