"""Shape report of a folder: tables, and one figure of histograms when there is a second folder to compare with."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medlangevin.errors import MedlangevinError
from medlangevin.io import atomic_path, write_text
from medlangevin.shape.compare import Comparison, compare, write_comparison
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population, measure_folder, write_population
from medlangevin.shape.volumes import find_volumes

_COLOURS = ("#0072b2", "#d55e00")  # Okabe and Ito: distinct to colour-blind readers as well
_COLUMNS = 4


class ShapeReport(NamedTuple):
    """What was measured and where it was written; without a second folder no ``comparisons`` and no ``figure``."""

    populations: tuple[Population, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Path, ...]
    figure: Path | None
    failures: Path | None


def report_shape(folder: Path, *, other: Path | None = None, out: Path | None = None, workers: int = 1) -> ShapeReport:
    """Measure ``folder`` (and ``other``), write a table each, and compare them in a table and a figure.

    ``out`` defaults to ``folder/shape``. Files that cannot be read are listed in ``failures.tsv`` there. Raises
    MedlangevinError before anything is written when a folder holds no volume or none that can be read.
    """
    out = folder / "shape" if out is None else out
    if out.exists() and not out.is_dir():
        raise MedlangevinError(f"--out {out} is a file; give a folder")
    folders = [folder] if other is None else [folder, other]
    if any(out.resolve() == item.resolve() for item in folders):
        raise MedlangevinError(f"--out {out} is a folder of volumes itself; give another, or none for {folder}/shape")
    for item in folders:
        find_volumes(item)  # both are checked before long work on the first
    names = _distinct_names(folders)
    populations = tuple(
        measure_folder(item, workers=workers, name=name) for item, name in zip(folders, names, strict=True)
    )
    tables = tuple(write_population(population, out) for population in populations)
    comparisons: tuple[Comparison, ...] = ()
    figure = None
    if len(populations) == 2:
        first, second = populations
        comparisons = tuple(compare(first, second))
        tables += (write_comparison(list(comparisons), out, first=first.name, second=second.name),)
        figure = draw_comparison(first, second, comparisons, out / "comparison.png")
    failures = [(population.name, *failure) for population in populations for failure in population.failures]
    listing = out / "failures.tsv"
    if failures:
        rows = [("population", "volume", "reason"), *failures]
        write_text(listing, "".join("\t".join(row) + "\n" for row in rows))
    else:
        listing.unlink(missing_ok=True)
    return ShapeReport(populations, comparisons, tables, figure, listing if failures else None)


def _distinct_names(folders: list[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}-{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name}-{number}" for number, name in enumerate(names, start=1)]
    # These names become file names beside the comparison's own.
    return [f"{name}-volumes" if name in ("comparison", "failures") else name for name in names]


def draw_comparison(first: Population, second: Population, comparisons: tuple[Comparison, ...], path: Path) -> Path:
    """Draw one histogram panel per measure for both populations and write it as PNG."""
    fields = measure_fields()
    rows = math.ceil(len(fields) / _COLUMNS)
    figure = Figure(figsize=(4.0 * _COLUMNS, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for item, comparison, axes in zip(fields, comparisons, panels, strict=False):
        units = item.metadata["units"]
        _draw_panel(axes, [first.column(item.name), second.column(item.name)], [first.name, second.name], comparison)
        axes.set_title(f"{item.metadata['title']}\n{panel_caption(comparison, units)}", fontsize=9)
        axes.set_xlabel(f"{item.metadata['title']} ({units})" if units else item.metadata["title"])
        axes.set_ylabel("share per unit")
    for axes in panels[len(fields) :]:
        axes.set_axis_off()
    figure.suptitle(f"Cochlear shape: {first.name} and {second.name}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return path


def panel_caption(comparison: Comparison, units: str) -> str:
    """The line above a panel: distance, test and counts; or that a population has too few values."""
    if math.isnan(comparison.wasserstein):
        return f"too few values (n = {comparison.first_count} and {comparison.second_count})"
    distance = f"Wasserstein {comparison.wasserstein:.3g} {units}".rstrip()
    return f"{distance}, KS p = {comparison.ks_p:.2g}, n = {comparison.first_count} and {comparison.second_count}"


def _draw_panel(axes: Axes, samples: list[np.ndarray], names: list[str], comparison: Comparison) -> None:
    finite = [values[np.isfinite(values)] for values in samples]
    joined = np.concatenate(finite)
    if joined.size == 0:
        axes.text(0.5, 0.5, "not found in any volume", ha="center", va="center", transform=axes.transAxes)
        return
    span = max(float(np.ptp(joined)), 1e-6)
    bins = np.linspace(joined.min() - 0.02 * span, joined.max() + 0.02 * span, 16).tolist()
    for values, name, colour in zip(finite, names, _COLOURS, strict=True):
        if values.size:
            label = f"{name} (n = {values.size})"
            axes.hist(values, bins=bins, density=True, color=colour, alpha=0.45, label=label)
            axes.hist(values, bins=bins, density=True, histtype="step", color=colour, linewidth=1.5)
            axes.axvline(float(values.mean()), color=colour, linestyle="--", linewidth=1.2)
    axes.legend(fontsize=8)


def format_table(report: ShapeReport) -> str:
    """Mean, standard deviation and count of every measure as plain text, one line each."""
    width = max(len(population.name) for population in report.populations)
    width = max(width, 26)
    head = f"{'measure':<16}" + "".join(f"  {population.name:>{width}}" for population in report.populations)
    lines = [head + ("   Wasserstein     KS p" if report.comparisons else "")]
    for index, item in enumerate(measure_fields()):
        line = f"{item.name:<16}"
        for population in report.populations:
            line += f"  {_summary(population.column(item.name)):>{width}}"
        if report.comparisons:
            row = report.comparisons[index]
            line += f"  {_number(row.wasserstein):>12}  {_number(row.ks_p):>7}"
        lines.append(line)
    return "\n".join(lines)


def _summary(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return f"not found (0 of {values.size})"
    deviation = f" ± {finite.std(ddof=1):.2f}" if finite.size > 1 else ""
    return f"{finite.mean():.2f}{deviation} ({finite.size} of {values.size})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
