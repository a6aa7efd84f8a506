"""medlangevin posterior."""

from pathlib import Path
from typing import Any

import click

from medlangevin.cli.options import checkpoint_option, path_option, run_argument, seed_option


@click.command()
@run_argument
@click.argument("image", type=click.Path(path_type=Path))
@path_option("--out", required=True, help="Folder to write to.")
@click.option("--kernel", type=click.Choice(["hmc", "mala", "qsl", "ula"]), default="hmc", show_default=True)
@click.option("--chains", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--draws", type=click.IntRange(min=4), default=2000, show_default=True, help="Of each chain, at most.")
@click.option("--warmup", type=click.IntRange(min=1), default=100, show_default=True, help="Steps before the draws.")
@click.option("--measured", type=click.IntRange(min=1), default=100, show_default=True, help="Draws to measure.")
@seed_option("The same seed gives the same draws.")
@checkpoint_option
def posterior(run: Path, image: Path, out: Path, **options: Any) -> None:
    """Tell what a scan leaves open: sample the latent of an ear's IMAGE under RUN, and measure the draws.

    Prints every shape measure as mean +- standard deviation given this scan, and writes the chains (ArviZ netCDF),
    diagnostics.tsv, measures.tsv, summary.json and posterior.png. Chains stop once they have converged; interrupted,
    the same command goes on. hmc and mala are exact; qsl and ula have no accept test and a small error.

    \b
    Example:
      medlangevin posterior runs/cochlea_qsl data/cochlea/crops/sub-0be29ae3bc_side-R_ct.nii.gz --out posterior/
    """
    from medlangevin.inference.posterior import format_posterior
    from medlangevin.inference.posterior import posterior as sample
    from medlangevin.reports.shape_figure import draw_posterior

    result = sample(run, image, out, **options)
    click.echo(format_posterior(result))
    click.echo(f"picture {draw_posterior(out)}")
