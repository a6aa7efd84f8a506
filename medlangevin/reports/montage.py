"""Montages: the middle slices of many volumes in one PNG."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
from matplotlib.figure import Figure

from medlangevin.datasets.slices import middle_slices
from medlangevin.inference.generation import GENERATED, PICTURE
from medlangevin.system.files import atomic_path, read_json

MOST_VOLUMES = 48


def save_montage(
    volumes: Sequence[np.ndarray],
    path: Path | str,
    *,
    labels: Sequence[str],
    title: str,
    window: tuple[float, float],
    columns: int | None = None,
    total: int | None = None,
) -> None:
    """Write a PNG with the axial, coronal and sagittal middle slices of each volume (i, j, k), one tile a volume.

    ``window``: the values shown black and white. At most ``MOST_VOLUMES`` are drawn; the title says so when there are
    more, or ``total`` in a set that ``volumes`` is the beginning of.
    """
    shown = min(len(volumes), MOST_VOLUMES)
    total = total or len(volumes)
    if shown < total:
        title = f"{title} (the first {shown} of {total})"
    columns = columns or math.ceil(math.sqrt(shown / 2))
    rows = math.ceil(shown / columns)
    tiles = [_tile(volume, window) for volume in volumes[:shown]]
    height, width = tiles[0].shape
    figure = Figure(figsize=(columns * width / 62, rows * (height / 62 + 0.25) + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, tile, label in zip(grid.flat, tiles, labels, strict=False):
        axes.imshow(tile, cmap=matplotlib.colormaps["gray"], vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(label, fontsize=7, pad=2)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png", metadata={"Software": "medlangevin"})


def draw_generated(folder: Path | str, *, columns: int | None = None) -> Path:
    """Write the montage of a folder that ``generate`` filled; its path. ``columns``: tiles in a row, if not square."""
    folder = Path(folder)
    about = read_json(folder / GENERATED)
    paths = sorted(folder.glob("synthetic-*_ct.nii.gz"))
    volumes = [np.asarray(nibabel.load(path).dataobj) for path in paths[:MOST_VOLUMES]]
    save_montage(
        volumes,
        folder / PICTURE,
        labels=[path.name.removesuffix("_ct.nii.gz") for path in paths],
        title=f"SYNTHETIC cochleae from {about['run']}, seed {about['seed']}",
        window=tuple(about["window_hu"]),
        columns=columns,
        total=len(paths),
    )
    return folder / PICTURE


def _tile(volume: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Three slices side by side in [0, 1], a white line between them."""
    low, high = window
    slices = [np.clip((part - low) / (high - low), 0, 1) for part in middle_slices(np.asarray(volume, float))]
    height = max(part.shape[0] for part in slices)
    padded = [np.pad(part, ((0, height - part.shape[0]), (0, 2)), constant_values=1.0) for part in slices]
    return np.concatenate(padded, axis=1)[:, :-2]
