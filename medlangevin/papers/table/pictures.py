"""The pictures of a table: learning curves and samples of its models, one of each for every data set."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from medlangevin.datasets.crop_arrays import strip
from medlangevin.datasets.datalist import read_index
from medlangevin.models.laplace import find_mode
from medlangevin.papers.table.cells import Cell
from medlangevin.papers.table.prepare import Table
from medlangevin.papers.table.records import record_path
from medlangevin.reports.curves import frame_the_end
from medlangevin.reports.image_grid import above_each_other, show_tiles, tile
from medlangevin.reports.run_pictures import held_out_ears, held_out_images
from medlangevin.runs.folder import METRICS
from medlangevin.runs.load import load_run
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.randomness import generator
from medlangevin.runs.run import Run
from medlangevin.system.files import atomic_path


def draw_table(table: Table) -> list[Path]:
    """Write OUT/curves-SET.png and OUT/samples-SET.png for all cells whose run is there.

    Curves also of runs that are not finished; samples of the first measured seed of every row. A cell that was copied
    from elsewhere without its run is not drawn.

    Args:
        table: The table.

    Returns:
        The pictures that were written.

    Raises:
        MedlangevinError: Where images of a set cannot be read.
    """
    drawn = []
    for data_set in table.config.data_sets:
        title = f"{table.config.name}, {data_set}"
        cells = [cell for cell in table.cells if cell.data_set == data_set]
        trainings = [training for cell in cells if not (training := _training(table, cell)).empty]
        if trainings:
            drawn.append(table.out / f"curves-{data_set}.png")
            _save_curves(pd.concat(trainings, ignore_index=True), drawn[-1], title=title)
        measured = {cell.row: cell for cell in reversed(cells) if _has_run(cell, table.out)}
        if measured:
            drawn.append(table.out / f"samples-{data_set}.png")
            rows = [measured[row] for row in table.config.rows if row in measured]
            _save_samples(table, rows, drawn[-1], title=title)
    return drawn


def _training(table: Table, cell: Cell) -> pd.DataFrame:
    """The metrics.csv of one training, a line for each epoch, with what is drawn of it; empty where it is absent."""
    epochs = pd.DataFrame(read_metrics(cell.config.run_dir / METRICS))
    if epochs.empty:
        return epochs
    validated = "validation_elbo" in epochs
    return epochs.assign(
        cell=cell.id,
        label=table.config.rows[cell.row].label,
        colour=f"C{list(table.config.rows).index(cell.row)}",
        minutes=epochs["seconds"].cumsum() / 60,
        validated=validated,
        bound=epochs["validation_elbo"] if validated else -epochs["loss"],
    )


def _has_run(cell: Cell, out: Path) -> bool:
    return record_path(out, cell.id).is_file() and (cell.config.run_dir / "checkpoints" / "best").is_dir()


def _save_curves(epochs: pd.DataFrame, path: Path, *, title: str) -> None:
    shown = {"bound": 3.4, "acceptance": 1.7} if "acceptance" in epochs else {"bound": 3.4}
    figure = Figure(figsize=(11, 0.6 + sum(shown.values())), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(len(shown), 2, squeeze=False, height_ratios=[*shown.values()], sharex="col")
    for column, (x, unit) in enumerate((("epoch", "epoch"), ("minutes", "minutes of training"))):
        for axes, what in zip(panels[:, column], shown, strict=True):
            _plot(axes, epochs, x, what)
        panels[-1][column].set_xlabel(unit)
    frame_the_end(panels[0][0], epochs["bound"].to_numpy())
    panels[0][1].set_ylim(panels[0][0].get_ylim())
    panels[0][1].set_xlim(left=0)
    panels[0][0].set_ylabel(f"{_bound_name(epochs)},\nnats per image")
    if "acceptance" in shown:
        panels[1][0].set(ylabel="acceptance", ylim=(-0.03, 1.03))
        panels[1][1].set_ylim(-0.03, 1.03)
    panels[-1][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0][0].legend(fontsize=8, loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _plot(axes: Axes, epochs: pd.DataFrame, x: str, what: str) -> None:
    """A line for each training, and in the legend one for each model."""
    known = epochs[np.isfinite(epochs[what])]  # not every epoch may have been validated
    first = known.drop_duplicates("label")["cell"].tolist()
    for cell, training in known.groupby("cell", sort=False):
        label, colour = training[["label", "colour"]].iloc[0]
        style: dict[str, Any] = {"color": colour, "lw": 1, "marker": "." if len(training) < 3 else None}
        axes.plot(training[x].to_numpy(), training[what].to_numpy(), label=label if cell in first else None, **style)
    axes.grid(alpha=0.3)


def _bound_name(epochs: pd.DataFrame) -> str:
    if epochs["validated"].all():
        return "validation ELBO"
    return "validation ELBO, else minus the loss" if epochs["validated"].any() else "minus the training loss"


def _save_samples(table: Table, cells: list[Cell], path: Path, *, title: str) -> None:
    figure = Figure(figsize=(9.2, 0.5 + 4.75 * len(cells)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(len(cells), 2, squeeze=False)
    for (left, right), cell in zip(panels, cells, strict=True):
        run = load_run(cell.config.run_dir)
        label = table.config.rows[cell.row].label
        columns, rows = _layout(cell)
        samples = run.model.sample(columns * rows, generator(cell.seed, "samples"))
        show_tiles(left, tile(flat(samples), columns))
        left.set_title(f"{label}\nseed {cell.seed}, epoch {run.state.epoch}: samples (mean images)", fontsize=8)
        _show_reconstructions(right, run, cell)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png", metadata={"Software": "medlangevin"})


def _layout(cell: Cell) -> tuple[int, int]:
    """Columns and rows of pictures; a crop is shown in three planes, so it is three times as wide as high."""
    return (10, 10) if cell.config.images is not None else (3, 8)


def _show_reconstructions(axes: Axes, run: Run, cell: Cell) -> None:
    noise = generator(cell.seed, "pictures")
    columns = _layout(cell)[0]
    count = 2 * columns  # their latents are searched for, a second an ear
    if cell.config.images is None:
        data, what = cell.config.data, "validation ears"
        _, x = held_out_ears(read_index(data.root), count, window_hu=data.window_hu)
    else:
        split, images = held_out_images(cell.config.images)
        x, what = images.batch(slice(count), generator=noise), f"{split} images"
    columns = min(columns, len(x))
    x = x[: len(x) // columns * columns]
    found = run.model.reconstruct(x, find_mode(run.model, x))
    show_tiles(axes, tile(above_each_other(flat(x), flat(found), columns), columns))
    axes.set_title(f"{what}, below each row its reconstructions", fontsize=8)


def flat(images: Tensor) -> Tensor:
    """Make pictures of what a model draws.

    Args:
        images: Images (N, C, H, W) or crops (N, 1, i, j, k).

    Returns:
        Images as they are; of crops the middle slices side by side, (N, 1, h, w).
    """
    return images if images.ndim == 4 else torch.stack([strip(crop[0])[None] for crop in images])
