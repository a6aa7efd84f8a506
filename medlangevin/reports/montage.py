"""Montages: the middle slices of many volumes in one PNG, and those of synthetic ears and of an audit."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from medlangevin.datasets.crop_arrays import middle_slices
from medlangevin.evaluation.memorisation import PICTURE as PAIRS_PICTURE
from medlangevin.evaluation.memorisation import RESULT
from medlangevin.inference.generation import GENERATED, PICTURE
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.files import atomic_path, read_json
from medlangevin.system.nifti import read_volume

MOST_VOLUMES, MOST_PAIRS = 48, 12
PAIRS_WINDOW_HU = (-1000.0, 2500.0)


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
    """Write a PNG with the axial, coronal and sagittal middle slices of each volume, one tile a volume.

    Args:
        volumes: Arrays (i, j, k). At most 48 are drawn, and the title says so when there are more.
        path: The file to write.
        labels: What to write above each tile.
        title: The line above all.
        window: The values shown black and white.
        columns: Tiles in a row, if not about square.
        total: How many volumes there are, where ``volumes`` is only the beginning of them.
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
    """Write the montage of a folder of synthetic ears.

    Args:
        folder: What ``generate`` wrote.
        columns: Tiles in a row, if not about square.

    Returns:
        The path of the PNG in ``folder``.
    """
    folder = Path(folder)
    about = read_json(folder / GENERATED)
    paths = sorted(folder.glob("synthetic-*_ct.nii.gz"))
    volumes = [read_volume(path)[0] for path in paths[:MOST_VOLUMES]]
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


def draw_pairs(folder: Path | str) -> Path:
    """Draw the synthetic ears most like a training ear, each beside its neighbour: up to 12 of lowest image score.

    Args:
        folder: What ``audit`` wrote.

    Returns:
        The path of the PNG in ``folder``.
    """
    folder = Path(folder)
    result = read_json(folder / RESULT)
    synthetic = {volume.name: volume.path for volume in find_volumes(Path(result["synthetic"]))}
    training = {volume.path.name: volume.path for volume in find_volumes(Path(result["data"]))}
    volumes: list[np.ndarray] = []
    labels: list[str] = []
    for row in sorted(result["ears"], key=lambda row: row["image_score"])[:MOST_PAIRS]:
        neighbour = row["image_nearest"]
        volumes += [read_volume(synthetic[row["volume"]])[0], read_volume(training[neighbour])[0]]
        verdict = "COPY? " if row["copy"] else ""
        labels += [f"{verdict}{row['volume']}, score {row['image_score']:.2f}", neighbour.split("_ct")[0]]
    title = f"SYNTHETIC ears from {result['run']} (left) and their nearest training ears (right)"
    save_montage(volumes, folder / PAIRS_PICTURE, labels=labels, title=title, window=PAIRS_WINDOW_HU, columns=2)
    return folder / PAIRS_PICTURE


def _tile(volume: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Three slices side by side in [0, 1], a white line between them."""
    low, high = window
    slices = [np.clip((part - low) / (high - low), 0, 1) for part in middle_slices(np.asarray(volume, float))]
    height = max(part.shape[0] for part in slices)
    padded = [np.pad(part, ((0, height - part.shape[0]), (0, 2)), constant_values=1.0) for part in slices]
    return np.concatenate(padded, axis=1)[:, :-2]
