"""Shape report of a folder: tables, meshes, and a comparison with a figure when there is a second folder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medlangevin.inference.generation import origin
from medlangevin.reports.shape_figure import draw_comparison
from medlangevin.shape.compare import Comparison, compare, write_comparison
from medlangevin.shape.compare_sets import SetComparison, compare_sets, write_set_comparison
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.mesh_file import MeshFormat, MeshSpace
from medlangevin.shape.population import MeshExport, Population, measure_folder
from medlangevin.shape.tables import write_population, write_sections
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import require_folder, write_tsv

# With so many ears in both sets, Kolmogorov-Smirnov still misses three of four differences of a standard deviation.
FEW = 10
_OWN_NAMES = ("comparison", "comparison_sets", "cross_sections", "failures")


class ShapeReport(NamedTuple):
    """What was measured and where it was written; without a second folder no ``comparisons``, ``sets``, ``figure``."""

    populations: tuple[Population, ...]
    comparisons: tuple[Comparison, ...]
    sets: SetComparison | None
    tables: tuple[Path, ...]
    figure: Path | None
    failures: Path | None


def report_shape(
    folder: Path,
    *,
    other: Path | None = None,
    splits: Sequence[str] = (),
    out: Path | None = None,
    workers: int = 1,
    mesh: MeshFormat | None = None,
    mesh_space: MeshSpace = "LPS",
) -> ShapeReport:
    """Measure ``folder`` (and ``other``), write a table each, and compare them in two tables and a figure.

    ``splits``: only these of the folders that preprocess wrote, whose names in all tables then end in them.
    With ``mesh``, walls go to ``out``/meshes/POPULATION/VOLUME.MESH, in mm of ``mesh_space``. ``out`` defaults to
    ``folder/shape``. Files that cannot be read are listed in ``failures.tsv`` there. Raises MedlangevinError before
    anything is written when a folder holds no volume or none that can be read.
    """
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
    populations = tuple(
        measure_folder(
            item,
            splits=some,
            workers=workers,
            name=name,
            meshes=MeshExport(out / "meshes" / name, mesh, mesh_space) if mesh else None,
        )
        for item, name, some in zip(folders, names, chosen, strict=True)
    )
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
        figure = draw_comparison(first, second, comparisons, sets, out / "comparison.png")
    failures = [(population.name, *failure) for population in populations for failure in population.failures]
    listing = out / "failures.tsv"
    if failures:
        write_tsv(listing, [("population", "volume", "reason"), *failures])
    else:
        listing.unlink(missing_ok=True)
    return ShapeReport(populations, comparisons, sets, tables, figure, listing if failures else None)


def _distinct_names(folders: list[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}-{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    # These names become file names beside the comparison's own.
    return [f"{name}-volumes" if name in _OWN_NAMES else name for name in names]


def format_table(report: ShapeReport) -> str:
    """Mean, standard deviation and count of every measure as plain text, one line each."""
    width = max(len(population.name) for population in report.populations)
    width = max(width, 26)
    head = f"{'measure':<18}" + "".join(f"  {population.name:>{width}}" for population in report.populations)
    lines = [head + ("   Wasserstein     KS p" if report.comparisons else "")]
    for index, item in enumerate(measure_fields()):
        line = f"{item.name:<18}"
        for population in report.populations:
            line += f"  {_summary(population.column(item.name)):>{width}}"
        if report.comparisons:
            row = report.comparisons[index]
            line += f"  {_number(row.wasserstein):>12}  {_number(row.ks_p):>7}"
        lines.append(line)
    if report.comparisons and min(len(population.ears) for population in report.populations) < FEW:
        lines += ["", f"with fewer than {FEW} ears in a set, a high p does not say that the sets agree"]
    if report.sets:
        lines += ["", f"{'both sets':<24}  {'value':>10}  {'p':>7}"]
        lines += [
            f"{row.statistic:<24}  {_number(row.value):>10}  {_number(row.p):>7}" for row in report.sets.statistics
        ]
    return "\n".join(lines)


def _summary(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return f"not found (0 of {values.size})"
    deviation = f" ± {finite.std(ddof=1):.2f}" if finite.size > 1 else ""
    return f"{finite.mean():.2f}{deviation} ({finite.size} of {values.size})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
