"""Grids of small images, grey or RGB, in one PNG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from medlangevin.system.files import atomic_path

GAP = 2  # pixels of the images between two of them
SHOWN_WIDTH = 900  # of a grid, in pixels of the PNG
DPI = 100


def save_image_grid(
    images: Tensor, path: Path | str, *, columns: int, title: str, labels: Sequence[str] | None = None
) -> None:
    """Write a PNG of ``images`` (N, C, H, W) in [0, 1], ``columns`` to a row, from the top left.

    C = 3 is shown as RGB, of anything else the first channel in grey. ``labels``: one for each row, at its left.
    """
    tiles = tile(images, columns)
    scale = max(1, round(SHOWN_WIDTH / tiles.shape[1]))
    left, top = 0.3 + 0.09 * max((len(label) for label in labels or ()), default=0), 0.5
    width, height = (scale * size / DPI for size in (tiles.shape[1], tiles.shape[0]))
    figure = Figure(figsize=(left + width + 0.3, top + height + 0.3), dpi=DPI)
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes((left / total_width, 0.3 / total_height, width / total_width, height / total_height))
    show_tiles(axes, tiles)
    if labels is not None:
        row_height = images.shape[2] + GAP
        axes.set_yticks([number * row_height + images.shape[2] / 2 for number in range(len(labels))], labels)
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": "medlangevin"})


def tile(images: Tensor, columns: int) -> np.ndarray:
    """One picture of (N, C, H, W): rows of ``columns`` images, ``GAP`` white pixels between them.

    (rows (H + GAP) - GAP, columns (W + GAP) - GAP), with a last axis of 3 for RGB; values are clipped to [0, 1]. Places
    that no image is left for stay white.
    """
    count, channels, height, width = images.shape
    pictures = images.detach().float().cpu().clamp(0, 1)
    pictures = pictures if channels == 3 else pictures[:, :1]
    rows = -(-count // columns)
    canvas = torch.ones(pictures.shape[1], rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for position, picture in enumerate(pictures):
        row, column = divmod(position, columns)
        top, left = row * (height + GAP), column * (width + GAP)
        canvas[:, top : top + height, left : left + width] = picture
    return canvas.permute(1, 2, 0).squeeze(-1).numpy()


def show_tiles(axes: Axes, tiles: np.ndarray) -> None:
    """Show what ``tile`` made, without a frame."""
    axes.imshow(tiles, cmap=matplotlib.colormaps["gray"], vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)


def above_each_other(originals: Tensor, reconstructions: Tensor, columns: int) -> Tensor:
    """Rows of ``columns`` originals, each above the row of their reconstructions: (2 N, C, H, W) for ``tile``.

    N has to be a multiple of ``columns``.
    """
    rows = torch.stack([originals.unflatten(0, (-1, columns)), reconstructions.unflatten(0, (-1, columns))], dim=1)
    return rows.flatten(0, 2)
