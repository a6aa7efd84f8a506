"""medlangevin shape."""

import os
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--compare", "other", type=click.Path(path_type=Path), help="A second folder, to compare FOLDER with.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: FOLDER/shape]")
@click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="all cores", help="Processes."
)
def shape(folder: Path, other: Path | None, out: Path | None, workers: int) -> None:
    """Measure the cochleae in FOLDER (from preprocess or generate, or any NIfTI crops in the reference frame).

    Writes a table per folder (volume, surface, extents, A, B, height, turns; what cannot be found is left empty) with a
    JSON file that defines its columns; with --compare also comparison.tsv and comparison.png.

    \b
    Example:
      medlangevin shape synthetic/ --compare data/cochlea
    """
    from medlangevin.errors import PartialFailureError
    from medlangevin.reports.shape_comparison import format_table, report_shape

    report = report_shape(folder, other=other, out=out, workers=workers)
    click.echo(format_table(report))
    for table in report.tables:
        click.echo(f"table {table}")
    if report.figure:
        click.echo(f"picture {report.figure}")
    if report.failures:
        count = sum(len(population.failures) for population in report.populations)
        raise PartialFailureError(f"{count} of the volumes could not be read and were skipped; see {report.failures}")
