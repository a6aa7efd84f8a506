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
    """Write a PNG of images, from the top left.

    Args:
        images: (N, C, H, W) in [0, 1]. C = 3 is shown as RGB, of anything else the first channel in grey.
        path: The file to write.
        columns: Images in a row.
        title: The line above all.
        labels: One for each row, at its left.
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
    """Put images into one picture, with ``GAP`` white pixels between them.

    Args:
        images: (N, C, H, W), clipped to [0, 1].
        columns: Images in a row. Places that no image is left for stay white.

    Returns:
        (rows (H + GAP) - GAP, columns (W + GAP) - GAP), with a last axis of 3 for RGB.
    """
    count, channels, height, width = images.shape
    pictures = images.detach().float().cpu().clamp(0, 1)
    pictures = pictures if channels == 3 else pictures[:, :1]
    rows = -(-count // columns)
    places = torch.ones(rows * columns, pictures.shape[1], height + GAP, width + GAP)
    places[:count, :, :height, :width] = pictures
    canvas = places.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return canvas[:-GAP, :-GAP].squeeze(-1).numpy()


def show_tiles(axes: Axes, tiles: np.ndarray) -> None:
    """Show a picture in grey or RGB, without a frame.

    Args:
        axes: Where to show it.
        tiles: What ``tile`` returned.
    """
    axes.imshow(tiles, cmap=matplotlib.colormaps["gray"], vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)


def above_each_other(originals: Tensor, reconstructions: Tensor, columns: int) -> Tensor:
    """Order images so that each row of originals stands above the row of their reconstructions.

    Args:
        originals: (N, C, H, W); N has to be a multiple of ``columns``.
        reconstructions: (N, C, H, W).
        columns: Images in a row.

    Returns:
        (2 N, C, H, W) for ``tile``.
    """
    rows = torch.stack([originals.unflatten(0, (-1, columns)), reconstructions.unflatten(0, (-1, columns))], dim=1)
    return rows.flatten(0, 2)
