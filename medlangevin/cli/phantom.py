"""medlangevin phantom."""

import os
from pathlib import Path

import click


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for dicom/ and truth/.")
@click.option("--ears", default=40, show_default=True, help="How many ears, one a person; right and left take turns.")
@click.option("--seed", default=0, show_default=True, help="The same seed writes the same files.")
@click.option("--workers", default=os.cpu_count() or 1, show_default="all cores", help="Processes.")
def phantom(out: Path, ears: int, seed: int, workers: int) -> None:
    """Write scans of parametric inner ears as DICOM studies, and the truth about each as JSON.

    Ears that an interrupted run has written are kept; run the same command again to go on.

    \b
    Example:
      medlangevin phantom --out phantom --ears 40 --seed 0
    """
    from medlangevin.phantom import write_cohort

    folders = write_cohort(out, ears=ears, seed=seed, workers=workers)
    click.echo(f"{len(folders)} studies in {out / 'dicom'}, the truth in {out / 'truth'}")
