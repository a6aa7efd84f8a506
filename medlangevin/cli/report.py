"""medlangevin report."""

from pathlib import Path
from typing import Any

import click

from medlangevin.cli.options import path_option, run_argument, seed_option


@click.command()
@run_argument
@path_option("--out", required=True, help="The HTML file to write.")
@path_option("--data", help="The crops, if not where the run's config says.")
@path_option("--synthetic", help="A folder that generate wrote; with what shape --compare and audit found in it.")
@path_option("--posterior", help="A folder that posterior wrote, of one ear.")
@click.option("--without-real", is_flag=True, help="No picture or volume of a real ear, for a page that is passed on.")
@seed_option("Of the synthetic volumes in the viewer.")
def report(run: Path, out: Path, data: Path | None, without_real: bool, **options: Any) -> None:
    """Write one HTML page on a trained RUN that opens anywhere, without a network.

    Data and quality of registration, learning curves, likelihood, samples beside real ears, shape comparison, what a
    scan leaves open, and a viewer with real and synthetic volumes and a slider for each leading latent direction.

    \b
    Example:
      medlangevin report runs/cochlea_qsl --synthetic synthetic/ --out report.html
    """
    from medlangevin.reports.report import write_report

    path = write_report(run, out, data_root=data, with_real=not without_real, **options)
    click.echo(f"report {path} ({path.stat().st_size / 1e6:.1f} MB)")
