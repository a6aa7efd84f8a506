"""The pictures of a table: learning curves and samples of its models, one of each for every data set."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from medlangevin.datasets.crop_arrays import strip
from medlangevin.datasets.datalist import read_index
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.prepare import Benchmark
from medlangevin.papers.table.records import record_path
from medlangevin.reports.curves import frame_the_end, series
from medlangevin.reports.image_grid import above_each_other, show_tiles, tile
from medlangevin.reports.run_pictures import held_out_ears, held_out_images
from medlangevin.runs.folder import METRICS
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import Row, read_metrics
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.files import atomic_path

COLUMNS = 10


def draw_benchmark(benchmark: Benchmark) -> list[Path]:
    """Write OUT/curves-SET.png and OUT/samples-SET.png for all cells whose run is there; the paths.

    Curves also of runs that are not finished; samples of the first measured seed of every row. A cell that was copied
    from elsewhere without its run is not drawn. Raises MedlangevinError where images of a set cannot be read.
    """
    drawn = []
    for data_set in benchmark.table.data_sets:
        cells = [cell for cell in benchmark.cells if cell.data_set == data_set]
        curves = [curve for cell in cells if (curve := _curve(benchmark, cell)) is not None]
        if curves:
            drawn.append(benchmark.out / f"curves-{data_set}.png")
            _save_curves(curves, drawn[-1], title=f"{benchmark.table.name}, {data_set}")
        measured = {cell.row: cell for cell in reversed(cells) if _has_run(cell, benchmark.out)}
        if measured:
            drawn.append(benchmark.out / f"samples-{data_set}.png")
            rows = [measured[row] for row in benchmark.table.rows if row in measured]
            _save_samples(benchmark, rows, drawn[-1], title=f"{benchmark.table.name}, {data_set}")
    return drawn


class _Curve(NamedTuple):
    """One training: its row's label and colour, and its metrics.csv."""

    label: str
    colour: tuple[float, ...]
    rows: list[Row]

    @property
    def validated(self) -> bool:
        return any("validation_elbo" in row for row in self.rows)

    @property
    def bound(self) -> np.ndarray:
        return series(self.rows, "validation_elbo") if self.validated else -series(self.rows, "loss")

    @property
    def minutes(self) -> np.ndarray:
        return np.cumsum(series(self.rows, "seconds")) / 60


def _curve(benchmark: Benchmark, cell: Cell) -> _Curve | None:
    rows = read_metrics(cell.config.run_dir / METRICS)
    position = list(benchmark.table.rows).index(cell.row)
    colour = matplotlib.colormaps["tab10"](position % 10)
    return _Curve(benchmark.table.rows[cell.row].label, colour, rows) if rows else None


def _has_run(cell: Cell, out: Path) -> bool:
    return record_path(out, cell.id).is_file() and (cell.config.run_dir / "checkpoints" / "best").is_dir()


def _save_curves(curves: list[_Curve], path: Path, *, title: str) -> None:
    accepting = [curve for curve in curves if any("acceptance" in row for row in curve.rows)]
    heights = [3.4, 1.7] if accepting else [3.4]
    figure = Figure(figsize=(11, 0.6 + sum(heights)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights, sharex="col")
    for column, unit in enumerate(("epoch", "minutes of training")):
        _plot(panels[0][column], curves, "bound", by_minutes=column == 1)
        panels[-1][column].set_xlabel(unit)
        if accepting:
            _plot(panels[1][column], accepting, "acceptance", by_minutes=column == 1)
            panels[1][column].set_ylim(-0.03, 1.03)
    frame_the_end(panels[0][0], np.concatenate([curve.bound for curve in curves]))
    panels[0][1].set_ylim(panels[0][0].get_ylim())
    panels[0][1].set_xlim(left=0)
    panels[0][0].set_ylabel(f"{_bound_name(curves)},\nnats per image")
    if accepting:
        panels[1][0].set_ylabel("acceptance")
    panels[-1][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0][0].legend(fontsize=8, loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _plot(axes: Axes, curves: list[_Curve], what: str, *, by_minutes: bool) -> None:
    labelled: set[str] = set()
    for curve in curves:
        x = curve.minutes if by_minutes else series(curve.rows, "epoch")
        y = curve.bound if what == "bound" else series(curve.rows, what)
        known = np.isfinite(y)  # not every epoch may have been validated
        x, y = x[known], y[known]
        label = None if curve.label in labelled else curve.label
        labelled.add(curve.label)
        axes.plot(x, y, color=curve.colour, lw=1, label=label, marker="." if len(x) < 3 else None)
    axes.grid(alpha=0.3)


def _bound_name(curves: list[_Curve]) -> str:
    validated = {curve.validated for curve in curves}
    if validated == {True}:
        return "validation ELBO"
    return "minus the training loss" if validated == {False} else "validation ELBO, else minus the loss"


def _save_samples(benchmark: Benchmark, cells: list[Cell], path: Path, *, title: str) -> None:
    figure = Figure(figsize=(9.2, 0.5 + 4.75 * len(cells)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(len(cells), 2, squeeze=False)
    for (left, right), cell in zip(panels, cells, strict=True):
        run = load_run(cell.config.run_dir)
        label = benchmark.table.rows[cell.row].label
        columns, rows = _layout(cell)
        samples = run.model.sample(columns * rows, generator(cell.seed, "samples"))
        show_tiles(left, tile(flat(samples), columns))
        left.set_title(f"{label}\nseed {cell.seed}, epoch {run.state.epoch}: samples (mean images)", fontsize=8)
        _show_reconstructions(right, run, cell)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": "medlangevin"})


def _layout(cell: Cell) -> tuple[int, int]:
    """Columns and rows of pictures; a crop is shown in three planes, so it is three times as wide as high."""
    return (COLUMNS, COLUMNS) if cell.config.images is not None else (3, 8)


def _show_reconstructions(axes: Axes, run: Run, cell: Cell) -> None:
    noise = generator(cell.seed, "pictures")
    columns, rows = _layout(cell)
    count = columns * rows // 2
    if cell.config.images is None:
        data = cell.config.data
        split = "validation"
        _, x = held_out_ears(read_index(data.root), count, window_hu=data.window_hu)
    else:
        split, images = held_out_images(cell.config.images)
        x = images.batch(slice(0, min(len(images), count)), generator=noise)
    columns = min(columns, len(x))
    x = x[: len(x) // columns * columns]
    show_tiles(axes, tile(above_each_other(flat(x), flat(run.model.reconstruct(x, noise)), columns), columns))
    noun = "ears" if cell.config.images is None else "images"
    axes.set_title(f"{split} {noun}, below each row its reconstructions", fontsize=8)


def flat(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as they are; of crops (N, 1, i, j, k) the middle slices side by side, (N, 1, h, w)."""
    return images if images.ndim == 4 else torch.stack([strip(crop[0])[None] for crop in images])
