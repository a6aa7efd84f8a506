"""Images from an ``.npz`` file, checked; nothing in it is ever unpickled."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medlangevin.datasets.images.splits import SPLITS, Found
from medlangevin.system.errors import MedlangevinError, sizes

KEYS = tuple(f"{kind}_{split}" for kind in "xy" for split in SPLITS)
DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_archive(path: Path, *, shape: tuple[int, int, int] | None = None, binary: bool = False) -> Found:
    """Read x_train, x_valid, x_test (uint8, N x C x H x W) and, where present, labels y_* of any integer type.

    Only x_train must be there.

    Args:
        path: The ``.npz`` file.
        shape: The (C, H, W) that the images need to have.
        binary: Values other than 0 and 1 are refused.

    Returns:
        What it holds.

    Raises:
        MedlangevinError: One line that names the file, the array and the remedy.
    """
    arrays = _read(path)
    if unknown := [key for key in arrays if key not in KEYS]:
        raise MedlangevinError(f"{path}: unknown array '{unknown[0]}'; it may hold {', '.join(KEYS)}")
    if "x_train" not in arrays:
        raise MedlangevinError(f"{path}: x_train is missing (it holds {', '.join(arrays) or 'nothing'}); add it")
    images: dict[str, Tensor] = {}
    for split in SPLITS:
        if f"x_{split}" in arrays:
            images[split] = _images(arrays[f"x_{split}"], f"{path}: x_{split}", shape, binary)
            shape = shape or (images[split].shape[1], images[split].shape[2], images[split].shape[3])
    labels = {
        split: _labels(arrays[f"y_{split}"], images.get(split), f"{path}: y_{split}")
        for split in SPLITS
        if f"y_{split}" in arrays
    }
    return Found(images, labels, path, "x_valid of the file" if "valid" in images else "")


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise MedlangevinError(f"{path} is not an .npz file or was cut short; write it with numpy.savez")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} does not exist; give the path of an .npz file") from error
    except MemoryError as error:
        raise MedlangevinError(f"{path} does not fit into memory; store fewer or smaller images") from error
    except DAMAGE as error:
        if "Object arrays" in str(error):
            raise MedlangevinError(
                f"{path} holds pickled objects, which are never loaded; store plain uint8 arrays of one shape"
            ) from error
        reason = " ".join(str(error).split())[:150]
        raise MedlangevinError(f"{path} cannot be read ({reason}); copy or write it again") from error


def _images(array: np.ndarray, where: str, shape: tuple[int, int, int] | None, binary: bool) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise MedlangevinError(f"{where} is not an array; write the file with numpy.savez")
    if array.dtype != np.uint8:
        remedy = "multiply values in [0, 1] by 255, round and" if array.dtype.kind == "f" else "check the range and"
        raise MedlangevinError(f"{where} is {array.dtype}, not uint8; {remedy} convert with .astype(numpy.uint8)")
    if array.ndim != 4:
        raise MedlangevinError(f"{where} has shape {sizes(array.shape)}; make it N x C x H x W (grey images: C = 1)")
    if len(array) == 0:
        raise MedlangevinError(f"{where} holds no images; leave the array out or fill it")
    if 0 in array.shape:
        raise MedlangevinError(f"{where} has shape {sizes(array.shape)}, so its images hold no pixels; write it again")
    if shape is not None and array.shape[1:] != shape:
        raise MedlangevinError(f"{where} has images of {sizes(array.shape[1:])}, expected {sizes(shape)} (C x H x W)")
    if array.shape[1] > 4 and array.shape[3] <= 4:
        raise MedlangevinError(
            f"{where} has shape {sizes(array.shape)}, channels last; put them first with .transpose(0, 3, 1, 2)"
        )
    if binary and int(array.max()) > 1:
        raise MedlangevinError(f"{where} holds the value {int(array.max())}; a binary set holds 0 and 1 alone")
    return torch.from_numpy(np.ascontiguousarray(array))


def _labels(array: np.ndarray, images: Tensor | None, where: str) -> Tensor:
    if images is None:
        raise MedlangevinError(f"{where} labels images that are not there; add the images or leave the labels out")
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        kind = getattr(array, "dtype", type(array).__name__)
        raise MedlangevinError(f"{where} is {kind}; labels are whole numbers, one per image")
    if array.shape != (len(images),):
        raise MedlangevinError(f"{where} has shape {sizes(array.shape)} for {len(images)} images; give one label each")
    return torch.from_numpy(array.astype(np.int64))
