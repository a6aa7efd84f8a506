"""medlangevin shape."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medlangevin.shape.mesh_file import MeshFormat, MeshSpace


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--compare", "other", type=click.Path(path_type=Path), help="A second folder, to compare FOLDER with.")
@click.option(
    "--split",
    "splits",
    type=click.Choice(["training", "validation", "test"]),
    multiple=True,
    help="Only these ears of a folder that preprocess wrote; repeatable.  [default: all]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: FOLDER/shape]")
@click.option(
    "--mesh",
    type=click.Choice(["stl", "ply", "vtk"]),
    help="Also write every lumen's wall as a mesh, to OUT/meshes/.",
)
@click.option(
    "--mesh-space",
    type=click.Choice(["LPS", "RAS"], case_sensitive=False),
    help="Coordinates of the meshes (mm of the reference frame, right ear).  [default: LPS]",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="all cores", help="Processes."
)
def shape(
    folder: Path,
    other: Path | None,
    splits: tuple[str, ...],
    out: Path | None,
    mesh: "MeshFormat | None",
    mesh_space: "MeshSpace | None",
    workers: int,
) -> None:
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

    report = report_shape(
        folder, other=other, splits=splits, out=out, workers=workers, mesh=mesh, mesh_space=mesh_space
    )
    click.echo(describe(report))
    require_all_read(report)
