"""Shape report of a folder: tables, meshes, and a comparison with a figure when there is a second folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medlangevin.inference.generation import origin
from medlangevin.reports.report_parts import three_digits
from medlangevin.reports.shape_figure import draw_comparison
from medlangevin.shape.compare import Comparison, compare, write_comparison
from medlangevin.shape.compare_sets import SetComparison, compare_sets, write_set_comparison
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.mesh_file import MeshFormat, MeshSpace
from medlangevin.shape.population import MeshExport, Population, measure_folder
from medlangevin.shape.tables import write_population, write_sections
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.files import require_folder, write_tsv

# With so many ears in both sets, Kolmogorov-Smirnov still misses three of four differences of a standard deviation.
FEW = 10
PICTURE, FAILURES = "comparison.png", "failures.tsv"
_OWN_NAMES = ("comparison", "comparison_sets", "cross_sections", "failures")


class ShapeReport(NamedTuple):
    """What was measured and where it was written.

    Attributes:
        populations: One for each folder.
        comparisons: One for each measure; none without a second folder.
        sets: Both folders compared as wholes; None without a second folder.
        tables: The tables that were written.
        figure: The picture of the comparison; None without a second folder.
        failures: The list of volumes that could not be read; None when all could.
        meshes: Where meshes lie, in which format and coordinates; None without them.
    """

    populations: tuple[Population, ...]
    comparisons: tuple[Comparison, ...]
    sets: SetComparison | None
    tables: tuple[Path, ...]
    figure: Path | None
    failures: Path | None
    meshes: MeshExport | None


def report_shape(
    folder: Path,
    *,
    other: Path | None = None,
    splits: Sequence[str] = (),
    out: Path | None = None,
    workers: int = 1,
    mesh: MeshFormat | None = None,
    mesh_space: MeshSpace | None = None,
) -> ShapeReport:
    """Measure the volumes of one or two folders, write a table each, and compare them in two tables and a figure.

    Args:
        folder: Volumes.
        other: Volumes to compare them with.
        splits: Only these of the folders that preprocess wrote, whose names in all tables then end in them.
        out: Where to write; ``folder/shape`` if not given.
        workers: Processes.
        mesh: The format of meshes, ``out/meshes/POPULATION/VOLUME.MESH``; none if not given.
        mesh_space: Their coordinates, in mm; LPS if not given.

    Returns:
        What was measured and where it was written. Files that cannot be read are listed in failures.tsv.

    Raises:
        MedlangevinError: Before anything is written, when a folder holds no volume or none that can be read, or when
            options do not fit together.
    """
    if mesh_space and not mesh:
        raise MedlangevinError("--mesh-space says nothing without --mesh; add --mesh stl, ply or vtk")
    out = folder / "shape" if out is None else out
    require_folder(out)
    folders = [folder] if other is None else [folder, other]
    if any(out.resolve() == item.resolve() for item in folders):
        raise MedlangevinError(f"--out {out} is a folder of volumes itself; give another, or none for {folder}/shape")
    parted = [bool(splits) and (item / "dataset.json").is_file() for item in folders]
    if splits and not any(parted):
        raise MedlangevinError("--split is for folders that preprocess wrote (with dataset.json); leave it out")
    chosen = [tuple(splits) if has_splits else () for has_splits in parted]
    for item, some in zip(folders, chosen, strict=True):
        find_volumes(item, splits=some)  # both are checked before long work on the first
    made = origin(folder)
    names = ["-".join([name, *some]) for name, some in zip(_distinct_names(folders), chosen, strict=True)]
    meshes = MeshExport(out / "meshes", mesh, mesh_space or "LPS") if mesh else None
    populations = []
    for item, name, some in zip(folders, names, chosen, strict=True):
        own = meshes and meshes._replace(folder=meshes.folder / name)
        populations.append(measure_folder(item, splits=some, workers=workers, name=name, meshes=own))
    tables = tuple(write_population(population, out) for population in populations)
    tables += (write_sections(populations, out),)
    comparisons: tuple[Comparison, ...] = ()
    sets = figure = None
    if len(populations) == 2:
        first, second = populations
        comparisons = tuple(compare(first, second))
        told = write_comparison(list(comparisons), out, first=first.name, second=second.name, first_origin=made)
        tables += (told,)
        sets = compare_sets(first, second)
        tables += (write_set_comparison(sets, out, first=first.name, second=second.name),)
        figure = draw_comparison(first, second, comparisons, sets, out / PICTURE)
    # Not by the names of the folders, which may be those of patients.
    roles = zip(("folder", "compare"), populations, strict=False)
    failures = [(role, *failure) for role, population in roles for failure in population.failures]
    listing = out / FAILURES
    if failures:
        write_tsv(listing, [("set", "volume", "reason"), *failures])
    else:
        listing.unlink(missing_ok=True)
    return ShapeReport(tuple(populations), comparisons, sets, tables, figure, listing if failures else None, meshes)


def _distinct_names(folders: list[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}-{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    # These names become file names beside the comparison's own.
    return [f"{name}-volumes" if name in _OWN_NAMES else name for name in names]


def format_table(report: ShapeReport) -> str:
    """Show the measures as plain text, one line each.

    Args:
        report: What was measured.

    Returns:
        Mean, standard deviation and count in every population, and how far two populations lie apart.
    """
    width = max(26, *(len(population.name) for population in report.populations))
    head = f"{'measure':<18}" + "".join(f"  {population.name:>{width}}" for population in report.populations)
    lines = [head + ("   Wasserstein     KS p" if report.comparisons else "")]
    for index, item in enumerate(measure_fields()):
        line = f"{item.name:<18}"
        for population in report.populations:
            line += f"  {_summary(population.column(item.name)):>{width}}"
        if report.comparisons:
            apart = report.comparisons[index]
            line += f"  {three_digits(apart.wasserstein):>12}  {three_digits(apart.ks_p):>7}"
        lines.append(line)
    if report.comparisons and min(len(population.ears) for population in report.populations) < FEW:
        lines += ["", f"with fewer than {FEW} ears in a set, a high p does not say that the sets agree"]
    if report.sets:
        lines += ["", f"{'both sets':<24}  {'value':>10}  {'p':>7}"]
        for row in report.sets.statistics:
            lines.append(f"{row.statistic:<24}  {three_digits(row.value):>10}  {three_digits(row.p):>7}")
    return "\n".join(lines)


def describe(report: ShapeReport) -> str:
    """Tell what was measured and where it was written.

    Args:
        report: What was measured.

    Returns:
        The measures, then a line for each table, for the meshes and for the picture.
    """
    lines = [format_table(report), *(f"table {table}" for table in report.tables)]
    if report.meshes:
        folder, form, space = report.meshes
        lines.append(f"meshes {folder} ({form}, {space} mm of the reference frame, left ears mirrored to right)")
    if report.figure:
        lines.append(f"picture {report.figure}")
    return "\n".join(lines)


def require_all_read(report: ShapeReport) -> None:
    """Refuse to call the work done where a volume was left out.

    Args:
        report: What was measured.

    Raises:
        PartialFailureError: Where a volume could not be read.
    """
    if report.failures:
        count = sum(len(population.failures) for population in report.populations)
        raise PartialFailureError(f"{count} of the volumes could not be read and were skipped; see {report.failures}")


def _summary(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return f"not found (0 of {values.size})"
    deviation = f" ± {finite.std(ddof=1):.2f}" if finite.size > 1 else ""
    return f"{finite.mean():.2f}{deviation} ({finite.size} of {values.size})"
