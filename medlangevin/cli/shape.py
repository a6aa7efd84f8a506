"""medlangevin shape."""

from pathlib import Path
from typing import Any

import click

from medlangevin.cli.options import path_option, workers_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@path_option("--compare", "other", help="A second folder, to compare FOLDER with.")
@click.option(
    "--split",
    "splits",
    type=click.Choice(["training", "validation", "test"]),
    multiple=True,
    help="Only these ears of a folder that preprocess wrote; repeatable.  [default: all]",
)
@path_option("--out", help="Where to write.  [default: FOLDER/shape]")
@click.option(
    "--mesh", type=click.Choice(["stl", "ply", "vtk"]), help="Also write every lumen's wall as a mesh, to OUT/meshes/."
)
@click.option(
    "--mesh-space",
    type=click.Choice(["LPS", "RAS"], case_sensitive=False),
    help="Coordinates of the meshes (mm of the reference frame, right ear).  [default: LPS]",
)
@workers_option
def shape(folder: Path, **options: Any) -> None:
    """Measure the cochleae in FOLDER (from preprocess or generate, or any NIfTI crops in the reference frame).

    Writes a table per folder (volume, surface, extents, A, B, height, turns, lateral wall, duct lengths, mean
    cross-section; what cannot be found is left empty) and cross_sections.tsv (area along the duct), with JSON files
    that define their columns; with --compare also comparison.tsv (measure by measure), comparison_sets.tsv (both sets
    as wholes; FOLDER is judged by the other) and comparison.png. Synthetic ears are best compared with ears that the
    model was not trained on.

    \b
    Example:
      medlangevin shape synthetic/ --compare data/cochlea
      medlangevin shape synthetic/ --compare data/cochlea --split validation --split test
      medlangevin shape data/cochlea --mesh stl --mesh-space RAS
    """
    from medlangevin.reports.shape_comparison import describe, report_shape, require_all_read

    report = report_shape(folder, **options)
    click.echo(describe(report))
    require_all_read(report)
