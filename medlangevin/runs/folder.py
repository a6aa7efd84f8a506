"""The folder of a run: the names of its files, and data.json, which says what it was trained on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.config import ImagesConfig
from medlangevin.datasets.crops import Splits
from medlangevin.datasets.datalist import CropIndex, Ear
from medlangevin.datasets.images import ImageSource
from medlangevin.system.files import reading

CONFIG, DATA, ENVIRONMENT, METRICS = "config.yaml", "data.json", "environment.json", "metrics.csv"
# Larger crops, or smaller voxels, are damage.
LARGEST, SMALLEST_VOXEL_MM3 = 1024, 1e-6
_ADVICE = "restore it or train again under another name"
CheckpointName = Literal["best", "last"]


class CropGrid(NamedTuple):
    """The grid of crops.

    Attributes:
        affine: (4, 4) float64, voxel to RAS mm.
        shape: (i, j, k), in voxels.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]


def checkpoint_folder(run_dir: Path, name: CheckpointName) -> Path:
    """Where a checkpoint of a run lives.

    Args:
        run_dir: The run's folder.
        name: ``best`` or ``last``.

    Returns:
        The folder, which need not exist.
    """
    return run_dir / "checkpoints" / name


def describe_crops(index: CropIndex, splits: Splits, window_hu: tuple[float, float]) -> dict[str, Any]:
    """What data.json holds of a run on crops.

    Args:
        index: All crops of the data folder.
        splits: The ears to train on and to validate on.
        window_hu: The HU that become 0 and 1.

    Returns:
        The grid, the window, the number of ears, which ears (a digest) and whose they were; ready for JSON.
    """
    return {
        "affine": index.affine.tolist(),
        "shape": list(index.shape),
        "window_hu": list(window_hu),
        "counts": {"training": len(splits.training), "validation": len(splits.validation), "test": len(index.test)},
        "validation_source": splits.validation_source,
        "ears_sha256": _digest(splits.training, splits.validation),
        "seen_subjects": sorted({ear.subject for ear in (*splits.training, *splits.validation)}),
    }


def describe_images(source: ImageSource, settings: ImagesConfig) -> dict[str, Any]:
    """What data.json holds of a run on benchmark images.

    Args:
        source: Where the images came from.
        settings: What the configuration says of them.

    Returns:
        Which set, its shape and counts, a digest of all of it, and the settings; ready for JSON.
    """
    description = source.as_json()
    del description["location"]  # another machine has it elsewhere
    return description | {"binarization": settings.binarization, "train_on": settings.train_on}


def read_grid(data: Any, path: Path) -> CropGrid:
    """The grid in what ``describe_crops`` gave.

    Args:
        data: The content of data.json, or of a bundle's metadata.
        path: The file that it was read from, for the error.

    Returns:
        The grid.

    Raises:
        MedlangevinError: It is damaged.
    """
    with reading(path, _ADVICE):
        affine = np.array(data["affine"], dtype=np.float64)
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or affine[3].tolist() != [0, 0, 0, 1]
            or abs(np.linalg.det(affine)) < SMALLEST_VOXEL_MM3
        ):
            raise ValueError("not a grid")
    return CropGrid(affine, read_shape(data, path))


def read_shape(data: Any, path: Path) -> tuple[int, int, int]:
    """The three sizes of the images that data.json describes.

    Args:
        data: The content of data.json.
        path: The file that it was read from, for the error.

    Returns:
        (i, j, k) of crops, (C, H, W) of benchmark images.

    Raises:
        MedlangevinError: It is damaged.
    """
    with reading(path, _ADVICE):
        first, second, third = (int(size) for size in data["shape"])
        if not 1 <= min(first, second, third) <= max(first, second, third) <= LARGEST:
            raise ValueError("not the sizes of an image")
    return first, second, third


def _digest(*groups: Sequence[Ear]) -> str:
    text = "\n\n".join("\n".join(f"{ear.subject} {ear.side} {ear.image.name}" for ear in group) for group in groups)
    return hashlib.sha256(text.encode()).hexdigest()
