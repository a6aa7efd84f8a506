"""Figures of shape measures: of two sets compared, and of an ear given its scan."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medlangevin.inference.posterior import CHAINS, PICTURE, SUMMARY, TABLE, with_spread
from medlangevin.samplers.diagnostics import load_positions
from medlangevin.shape.compare import Comparison
from medlangevin.shape.compare_sets import SetComparison
from medlangevin.shape.measure import measure_fields
from medlangevin.shape.population import Population
from medlangevin.system.files import atomic_path, read_json

_COLOURS = ("#0072b2", "#d55e00")  # Okabe and Ito: distinct to colour-blind readers as well
_COLUMNS = 4
_TRACES, _POSTERIOR_COLUMNS = 4, 5


def draw_comparison(
    first: Population, second: Population, comparisons: tuple[Comparison, ...], sets: SetComparison, path: Path
) -> Path:
    """Draw a histogram panel per measure, then cross-sections along the duct, and both sets as wholes.

    Args:
        first: A population.
        second: Another.
        comparisons: Of the two, one for each measure, in the order of the measures.
        sets: The two compared as wholes.
        path: The PNG to write.

    Returns:
        ``path``.
    """
    fields = measure_fields()
    rows = math.ceil((len(fields) + 3) / _COLUMNS)
    figure = Figure(figsize=(4.0 * _COLUMNS, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for item, comparison, axes in zip(fields, comparisons, panels, strict=False):
        units = item.metadata["units"]
        _draw_panel(axes, [first.column(item.name), second.column(item.name)], [first.name, second.name], comparison)
        axes.set_title(f"{item.metadata['title']}\n{panel_caption(comparison, units)}", fontsize=9)
        axes.set(
            xlabel=f"{item.metadata['title']} ({units})" if units else item.metadata["title"], ylabel="share per unit"
        )
    further = iter(panels[len(fields) :])
    _draw_sections(next(further), first, second)
    _draw_points(next(further), sets, [first.name, second.name])
    _draw_modes(next(further), sets, [first.name, second.name])
    for axes in further:
        axes.set_axis_off()
    figure.suptitle(f"Cochlear shape: {first.name} and {second.name}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return path


def panel_caption(comparison: Comparison, units: str) -> str:
    """Word the line above a panel: distance, test and counts, or that a population has too few values.

    Args:
        comparison: Of one measure.
        units: The measure's units, or nothing.

    Returns:
        The line.
    """
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


def _draw_sections(axes: Axes, first: Population, second: Population) -> None:
    """Mean cross-section over the angle and a band of one standard deviation, where at least half the ears have one."""
    for population, colour in zip((first, second), _COLOURS, strict=True):
        cuts = [ear.sections for ear in population.ears if ear.sections is not None]
        if not cuts:
            continue
        longest = max((item.angle_deg for item in cuts), key=len)
        areas = np.full((len(cuts), longest.size), np.nan)
        for row, item in zip(areas, cuts, strict=True):
            row[: item.area_mm2.size] = item.area_mm2
        on = np.isfinite(areas).mean(axis=0) >= 0.5
        mean, deviation = np.nanmean(areas[:, on], axis=0), np.nanstd(areas[:, on], axis=0)
        axes.plot(longest[on], mean, color=colour, label=f"{population.name} (n = {len(cuts)})")
        axes.fill_between(longest[on], mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
    axes.set_title("Cross-section along the duct\nmean and one standard deviation", fontsize=9)
    axes.set(xlabel="angle from the round window (degrees)", ylabel="area (mm2)")
    _legend(axes)


def _draw_points(axes: Axes, sets: SetComparison, names: list[str]) -> None:
    """Both sets on the two main axes of the second set's features."""
    axes.set_title(f"All measures at once\nprincipal axes of {names[1]}", fontsize=9)
    points = sets.second_points
    if min(len(points), len(sets.first_points)) < 3 or points.shape[1] < 2:
        axes.text(0.5, 0.5, "too few ears", ha="center", va="center", transform=axes.transAxes)
        return
    main = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:2]
    for values, name, colour in zip((sets.first_points, points), names, _COLOURS, strict=True):
        across, up = (values @ main.T).T
        axes.scatter(across, up, s=12, color=colour, alpha=0.6, label=f"{name} (n = {len(values)})")
    axes.set(xlabel="first axis (standard deviations)", ylabel="second axis")
    _legend(axes)


def _draw_modes(axes: Axes, sets: SetComparison, names: list[str]) -> None:
    """Generality (full) and specificity (dashed) of both shape models over the number of modes."""
    axes.set_title("Shape modes: generality, full line\nspecificity, dashed", fontsize=9)
    for curves, name, colour in zip((sets.first_curves, sets.second_curves), names, _COLOURS, strict=True):
        if curves is not None:
            count = np.arange(1, curves.compactness.size + 1)
            axes.plot(count, curves.generality_mm, color=colour, label=name)
            axes.plot(count, curves.specificity_mm, color=colour, linestyle="--")
    axes.set(xlabel="modes", ylabel="error at the wall (mm)")
    if sets.first_curves is None and sets.second_curves is None:
        axes.text(0.5, 0.5, "too few ears", ha="center", va="center", transform=axes.transAxes)
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def draw_posterior(folder: Path | str) -> Path:
    """Draw traces of the chains, and a histogram of each shape measure.

    Above the traces of the four latent dimensions of largest spread, a colour a chain; below a histogram a measure,
    with the scan's own value as a line.

    Args:
        folder: What ``posterior`` wrote.

    Returns:
        The path of the PNG in ``folder``.
    """
    folder = Path(folder)
    about = read_json(folder / SUMMARY)
    table = pd.read_csv(folder / TABLE, sep="\t")
    z = load_positions(folder / CHAINS)
    fields = measure_fields()
    rows = math.ceil(len(fields) / _POSTERIOR_COLUMNS)
    figure = Figure(figsize=(3.2 * _POSTERIOR_COLUMNS, 2.6 * (rows + 1)), layout="constrained")
    figure.suptitle(
        f"{about['image']} under {about['run']}: {about['chains']} chains of {about['kernel']}", fontsize=11
    )
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, rows)).ravel()
    widest = np.argsort(-z.std((0, 1)))[:_TRACES]
    for axes, dimension in zip(above.subplots(1, len(widest), squeeze=False).flat, widest, strict=True):
        axes.plot(z[:, :, dimension].T, linewidth=0.5)
        axes.set_title(f"latent {dimension}", fontsize=9)
        axes.set_xlabel("draw")
    panels = below.subplots(rows, _POSTERIOR_COLUMNS, squeeze=False).ravel()
    for axes, item in zip(panels, fields, strict=False):
        spread = about["measures"][item.name]
        values = table[item.name].dropna()
        title = item.metadata["title"]
        if values.empty:
            axes.text(0.5, 0.5, "not found in any draw", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.hist(values, bins=20, color=_COLOURS[0], alpha=0.6)
            one = f"{spread['mean']:.2f}"
            title += f"\n{one if spread['sd'] is None else with_spread(spread['mean'], spread['sd'])}"
        if spread["scan"] is not None:
            axes.axvline(spread["scan"], color=_COLOURS[1], linestyle="--", label="the scan itself")
            axes.legend(fontsize=7)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(item.metadata["units"])
    for axes in panels[len(fields) :]:
        axes.set_axis_off()
    with atomic_path(folder / PICTURE) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    return folder / PICTURE
