"""Which volumes a folder holds, and reading one of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from numpy.typing import NDArray

from medlangevin.datasets.datalist import SPLITS, UNREADABLE
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json
from medlangevin.system.nifti import can_be_crop

_ENDINGS = ("*.nii", "*.nii.gz")


class Volume(NamedTuple):
    """One volume.

    Attributes:
        name: Its name in tables.
        path: Its file.
        subject: The person whose ear it shows.
    """

    name: str
    path: Path
    subject: str


def find_volumes(folder: Path | str, *, splits: Sequence[str] = ()) -> list[Volume]:
    """The volumes of a folder.

    They are what ``dataset.json`` lists where there is one, else the NIfTI files in the folder, else those in its
    ``crops`` folder. The subject is the listing's, else what the file's name says (``sub-<subject>_...``), else each
    volume is a subject of its own.

    Args:
        folder: The folder.
        splits: Only these splits of a listing; all when empty.

    Returns:
        The volumes, sorted by name.

    Raises:
        MedlangevinError: The folder is absent, holds none, or its listing is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MedlangevinError(f"{folder} is not a folder; give one with NIfTI crops (from preprocess or generate)")
    listing = folder / "dataset.json"
    subjects = _listed(listing, splits or SPLITS) if listing.is_file() else {}
    paths = list(subjects)
    if splits and listing.is_file() and not paths:
        raise MedlangevinError(f"{listing} lists no ears in {' or '.join(splits)}; give another --split")
    for place in (folder, folder / "crops"):
        if not paths:
            paths = [path for ending in _ENDINGS for path in place.glob(ending) if not path.name.startswith(".")]
    if not paths:
        raise MedlangevinError(
            f"no NIfTI volumes (*.nii, *.nii.gz) in {folder}; give the output of preprocess or generate"
        )
    return sorted(Volume(_stem(path), path, subjects.get(path) or _subject(_stem(path))) for path in paths)


def _subject(stem: str) -> str:
    named = re.match(r"sub-([^_]+)", stem)
    return named.group(1) if named else stem


def _listed(listing: Path, splits: Sequence[str]) -> dict[Path, str]:
    """The files that a listing names in ``splits``, and the subject of each ("" where it names none)."""
    raw = read_json(listing)
    if not isinstance(raw, dict) or not all(isinstance(raw.get(split, []), list) for split in SPLITS):
        raise MedlangevinError(f"{listing} is damaged; run medlangevin preprocess again")
    entries = [entry for split in SPLITS for entry in raw.get(split, [])]
    if not all(isinstance(entry, dict) and isinstance(entry.get("image"), str) for entry in entries):
        raise MedlangevinError(f"{listing}: every ear needs 'image'; run medlangevin preprocess again")
    chosen = [entry for split in splits for entry in raw.get(split, [])]
    return {listing.parent / entry["image"]: str(entry.get("subject") or "") for entry in chosen}


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_volume(path: Path | str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Array (i, j, k) and affine (4, 4, voxel to RAS mm) of a NIfTI volume.

    Raises MedlangevinError, one line, when the file is absent, cut short, not NIfTI, not three-dimensional, without a
    usable affine, or holds values that are not numbers.
    """
    path = Path(path)
    try:
        image = nibabel.load(path)
        if not can_be_crop(path, image.shape, image.get_data_dtype().itemsize):
            raise ValueError("its header claims more voxels than it can hold, or than a crop has")
        values = np.asarray(image.dataobj, dtype=np.float32)
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} does not exist; give a NIfTI crop") from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MedlangevinError(f"{path} cannot be read as NIfTI ({reason}); write it again") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise MedlangevinError(f"{path} has {values.ndim} axes, and a volume needs three; give one volume")
    if not np.isfinite(values).all():
        raise MedlangevinError(f"{path} holds values that are not numbers (NaN or infinite); write it again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise MedlangevinError(f"{path} has no usable affine (voxel to mm); write it again with one")
    return values, affine
