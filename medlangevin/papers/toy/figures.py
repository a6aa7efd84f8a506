"""Pictures of the toy experiments: samples over the truth's contours, with a number on every panel."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke

from medlangevin.papers.toy.grid import CENTRES
from medlangevin.papers.toy.panels import Panel, ToyResult, rows_of
from medlangevin.system.files import atomic_path

COLOURS = ("tab:blue", "tab:orange", "tab:green")
DARK_COLOURS = ("midnightblue", "saddlebrown", "darkgreen")
Limits = tuple[float, float, float, float]  # z1 from, to, z2 from, to
# The contours hold these shares of the true posterior.
SHARES = (0.99, 0.9, 0.5)


def draw_gaussian(result: ToyResult, path: Path | str) -> None:
    """Draw a row for each method and a column for each number of features, the data points in three colours.

    Args:
        result: The result of the Gaussian toy.
        path: The PNG to write.
    """
    features = sorted({panel.num_features for panel in result.panels if panel.num_features is not None})
    methods = list(dict.fromkeys(panel.method for panel in result.panels if panel.num_features is not None))
    points = range(len(result.truth))
    limits = _limits(result, points)
    figure = Figure(figsize=(3.1 * len(features), 3.2 * len(methods) + 0.9), layout=ConstrainedLayoutEngine(h_pad=0.1))
    grid = figure.subplots(len(methods), len(features), sharex=True, sharey=True, squeeze=False)
    free = [(row, column) for row in range(len(methods)) for column in range(len(features))]
    for number, panel in enumerate(result.panels):
        if panel.num_features is None:
            row, column = free[0]  # the panel that kernel ALD cannot have: fewer features than data points
        else:
            row, column = methods.index(panel.method), features.index(panel.num_features)
            free.remove((row, column))
        note = f"$W_2$ = {rows_of(result, number)['w2'].mean():.3f}"
        _panel(grid[row, column], result, panel, points, limits, _title(panel), note)
    _label(grid)
    chains, draws, *_ = result.panels[0].positions.shape
    title = (
        "Amortized Langevin dynamics on three Gaussian posteriors\n"
        f"{draws:,} draws per panel (one chain), a colour for each data point; lines: contours that hold 50, 90 and "
        f"99 % of the truth; crosses: means of the samples\n$W_2$: distance from the truth, mean over data points and "
        f"{chains} chains"
    )
    _save(figure, title, path)


def draw_neural(result: ToyResult, path: Path | str) -> None:
    """Draw a row for each data point and a column for each method.

    Args:
        result: The result of the neural toy.
        path: The PNG to write.
    """
    points = len(result.truth)
    figure = Figure(figsize=(2.45 * len(result.panels), 2.75 * points + 0.9), layout=ConstrainedLayoutEngine(h_pad=0.1))
    grid = figure.subplots(points, len(result.panels), sharex="row", sharey="row", squeeze=False)
    for point in range(points):
        limits = _limits(result, [point])
        for number, panel in enumerate(result.panels):
            row = rows_of(result, number).iloc[point]
            note = f"KL = {row['kl_all_chains']:.2f}   $W_2$ = {row['w2']:.2f}"
            _panel(grid[point, number], result, panel, [point], limits, _title(panel) if point == 0 else "", note)
    _label(grid)
    for point in range(points):
        grid[point, 0].set_ylabel(f"data point {point + 1}\n$z_2$", fontsize=9)
    chains, draws, *_ = result.panels[0].positions.shape
    title = (
        "Posteriors under a neural likelihood\n"
        f"{draws:,} draws per panel (one chain); lines: contours that hold 50, 90 and 99 % of the truth (by grid); "
        "crosses: means of the samples\n"
        f"KL in nats: all {chains} chains together; $W_2$: mean over chains; "
        "the first column is their floor"
    )
    _save(figure, title, path)


def _panel(
    axes: Axes, result: ToyResult, panel: Panel, points: Iterable[int], limits: Limits, title: str, note: str
) -> None:
    for point in points:
        _samples(axes, panel.positions[0, :, point], point)
        _contours(axes, result.truth[point], point)
    axes.set(xlim=limits[:2], ylim=limits[2:], aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5}
    axes.text(0.03, 0.97, note, transform=axes.transAxes, fontsize=8, va="top", bbox=box)


def _title(panel: Panel) -> str:
    parts = [panel.label if panel.method != "truth" else "independent draws\nfrom the truth"]
    if panel.num_features is not None and panel.condition_number is not None:
        condition = panel.condition_number
        rank = f"cond $K$ = {condition:,.0f}" if math.isfinite(condition) else "$K$ singular"
        parts.append(f"$d$ = {panel.num_features}, {rank}")
    return "\n".join(parts)


def _limits(result: ToyResult, points: Sequence[int]) -> Limits:
    """A square around the truth's 99 % contours and nearly all samples: z1 from, to, z2 from, to."""
    mass = np.exp(result.truth[list(points)]).sum(axis=0)
    inside = mass > _levels(mass, (0.999,))[0]
    corners = [CENTRES[inside.any(axis=1 - axis)][[0, -1]] for axis in (0, 1)]
    middle = [(low + high) / 2 for low, high in corners]
    half = 0.62 * max(high - low for low, high in corners)
    return middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half


def _levels(mass: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """The smallest masses of a cell in the regions of highest density that hold these ``shares`` of the whole."""
    ordered = np.sort(mass.ravel())[::-1]
    held = np.cumsum(ordered)
    return [float(ordered[np.searchsorted(held, share * held[-1])]) for share in shares]


def _samples(axes: Axes, chain: np.ndarray, point: int) -> None:
    """Dots, and a cross at their mean, without which a sample that has collapsed to a point would not be seen."""
    axes.scatter(chain[:, 0], chain[:, 1], s=2.5, linewidths=0, alpha=0.35, color=COLOURS[point], rasterized=True)
    outline = [withStroke(linewidth=3.5, foreground="white")]
    axes.plot(*chain.mean(0), "x", color=DARK_COLOURS[point], ms=6, mew=1.6, zorder=4, path_effects=outline)


def _contours(axes: Axes, log_mass: np.ndarray, point: int) -> None:
    mass = np.exp(log_mass)
    levels = _levels(mass, SHARES)
    # Only where there is something to draw: the grid is far larger than the posterior.
    seen = [np.flatnonzero((mass > levels[0] / 2).any(axis=1 - axis)) for axis in (0, 1)]
    rows, columns = (slice(part[0], part[-1] + 1) for part in seen)
    style: dict[str, Any] = {"levels": levels, "colors": DARK_COLOURS[point], "linewidths": 0.8}
    axes.contour(CENTRES[rows], CENTRES[columns], mass[rows, columns].T, **style)


def _label(grid: np.ndarray) -> None:
    for axes in grid[-1]:
        axes.set_xlabel("$z_1$", fontsize=9)
    for axes in grid[:, 0]:
        axes.set_ylabel("$z_2$", fontsize=9)


def _save(figure: Figure, title: str, path: Path | str) -> None:
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
