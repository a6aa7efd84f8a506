"""medlangevin generate."""

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many volumes to draw.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write them to.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same volumes.")
@click.option("--noise", is_flag=True, help="Add the noise that the model has learned; without it, smooth means.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
def generate(run: Path, count: int, out: Path, seed: int, noise: bool, checkpoint: Literal["best", "last"]) -> None:
    """Draw synthetic cochleae from a trained RUN.

    Writes NIfTI volumes in HU on the grid of the training crops, a JSON file each that says SYNTHETIC and holds the
    latent vector, and montage.png.

    \b
    Example:
      medlangevin generate runs/cochlea_qsl --count 50 --out synthetic/
    """
    from medlangevin.evaluation.generation import generate as generate_volumes
    from medlangevin.reports.montage import draw_generated

    paths = generate_volumes(run, out, count=count, seed=seed, noise=noise, checkpoint=checkpoint)
    click.echo(f"{len(paths)} synthetic volumes in {out}")
    click.echo(f"picture {draw_generated(out)}")
