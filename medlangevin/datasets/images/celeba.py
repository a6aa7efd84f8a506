"""CelebA's aligned pictures, cropped and made small, kept in one file so that it is done once."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from medlangevin.datasets.images.archive import read_archive
from medlangevin.datasets.images.splits import SPLITS
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path
from medlangevin.system.progress import progress

CROP, SIZE = 148, 64  # pixels; the crop of Larsen et al. (2016) and most papers since
REPORT_EVERY = 1000


def read_celeba(folder: Path, open_split: Callable[[str], Any]) -> dict[str, Tensor]:
    """The faces of each split, from ``img_align_celeba`` in a folder.

    Decoding takes minutes, so the result is kept beside the pictures (2.5 GB for all faces) and read from there next
    time; where that folder cannot be written it is not kept.

    Args:
        folder: The folder.
        open_split: Gives torchvision's CelebA of a split.

    Returns:
        uint8 (N, 3, 64, 64) by split.

    Raises:
        MedlangevinError: A picture cannot be read; the message names it.
    """
    kept = folder / f"crop{CROP}_{SIZE}x{SIZE}.npz"
    if kept.is_file():
        return read_archive(kept, shape=(3, SIZE, SIZE)).images
    faces = {split: _faces(folder / "img_align_celeba", open_split(split).filename, split) for split in SPLITS}
    with suppress(MedlangevinError), atomic_path(kept) as temporary:  # a data folder shared by many is often read-only
        np.savez(temporary, x_train=faces["train"], x_valid=faces["valid"], x_test=faces["test"])
    return {split: torch.from_numpy(part) for split, part in faces.items()}


def _faces(folder: Path, names: list[str], split: str) -> np.ndarray:
    faces = np.empty((len(names), 3, SIZE, SIZE), dtype=np.uint8)
    with progress(len(names), f"CelebA {split}") as track:
        for number, name in enumerate(names):
            faces[number] = crop_face(folder / name).transpose(2, 0, 1)
            if (number + 1) % REPORT_EVERY == 0 or number + 1 == len(names):
                track.advance(number + 1)
    return faces


def crop_face(path: Path) -> np.ndarray:
    """The central 148 x 148 pixels of a picture, resized (bilinear, antialiased) to 64 x 64.

    Args:
        path: The aligned picture, 178 x 218.

    Returns:
        uint8 (H, W, C).

    Raises:
        MedlangevinError: It cannot be read, or is smaller than the crop.
    """
    try:
        with Image.open(path) as picture:
            image = picture.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise MedlangevinError(f"{path} is missing or cannot be read; unpack img_align_celeba.zip again") from error
    if min(image.size) < CROP:
        small = f"{path} is {image.width} x {image.height} pixels, smaller than the {CROP} pixel crop"
        raise MedlangevinError(f"{small}; use the aligned 178 x 218 pictures")
    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
    face = image.crop((left, top, left + CROP, top + CROP)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(face)
