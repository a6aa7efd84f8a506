"""The index of a folder that ``medlangevin preprocess`` wrote: ``dataset.json``, checked file by file."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medlangevin.system.errors import MedlangevinError, sizes
from medlangevin.system.files import read_json, reading
from medlangevin.system.nifti import UNREADABLE, can_be_crop, open_nifti, usable_affine

SPLITS = ("training", "validation", "test")


class Ear(NamedTuple):
    """One crop.

    Attributes:
        image: Its file.
        subject: Whose ear it is (a pseudonym).
        side: L or R, before mirroring; "" where it is not known.
    """

    image: Path
    subject: str
    side: str


class CropIndex(NamedTuple):
    """All ears by split, and the grid they share.

    Attributes:
        root: The folder.
        training: The ears to train on.
        validation: Those to validate on.
        test: Those to test on.
        affine: (4, 4), voxel to RAS mm.
        shape: (i, j, k) in voxels.
    """

    root: Path
    training: tuple[Ear, ...]
    validation: tuple[Ear, ...]
    test: tuple[Ear, ...]
    affine: np.ndarray
    shape: tuple[int, int, int]

    def split(self, name: str) -> tuple[Ear, ...]:
        """The ears of one split.

        Args:
            name: ``training``, ``validation`` or ``test``.

        Returns:
            They may be none.
        """
        ears: tuple[Ear, ...] = getattr(self, name)
        return ears


def read_index(root: Path | str) -> CropIndex:
    """Read and check ``dataset.json``.

    Every file has to be there, to be NIfTI and to lie on the same grid, and nobody may be in two splits. Crops that
    ``status.json`` tells of have to be byte for byte what preprocess wrote.

    Args:
        root: The folder that ``medlangevin preprocess`` wrote.

    Returns:
        All its ears and their grid.

    Raises:
        MedlangevinError: One line with the first bad file and what to do.
    """
    root = Path(root)
    listing = root / "dataset.json"
    if not listing.is_file():
        remedy = f"run medlangevin preprocess --raw DICOM_FOLDER --out {root} first"
        raise MedlangevinError(f"no crops in {root} (dataset.json is absent); {remedy}")
    raw = read_json(listing)
    if not isinstance(raw, dict) or not any(raw.get(name) for name in SPLITS):
        raise MedlangevinError(f"{listing} lists no ears; run medlangevin preprocess again")
    ears = {name: _ears(raw.get(name, []), root, f"{listing}, {name}") for name in SPLITS}
    _refuse_shared_people(ears, listing)
    everyone = [ear for name in SPLITS for ear in ears[name]]
    affine, shape = _common_grid(everyone)
    _refuse_changed(everyone, root)
    return CropIndex(root, ears["training"], ears["validation"], ears["test"], affine, shape)


def _ears(entries: Any, root: Path, where: str) -> tuple[Ear, ...]:
    if not isinstance(entries, list):
        raise MedlangevinError(f"{where}: expected a list of ears; run medlangevin preprocess again")
    ears = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "subject")):
            raise MedlangevinError(f"{where}[{number}]: an ear needs 'image' and 'subject'; run preprocess again")
        ears.append(Ear(root / entry["image"], entry["subject"], str(entry.get("side", ""))))
    return tuple(ears)


def _refuse_shared_people(ears: dict[str, tuple[Ear, ...]], listing: Path) -> None:
    home: dict[str, str] = {}
    for name in SPLITS:
        for ear in ears[name]:
            if home.setdefault(ear.subject, name) != name:
                both = f"subject {ear.subject} is in both {home[ear.subject]} and {name}"
                raise MedlangevinError(f"{listing}: {both}; split by person, not by ear")


def _refuse_changed(ears: Iterable[Ear], root: Path) -> None:
    """A crop with another digest than its record has was replaced: by zeros, other units, somebody else's ear."""
    record = root / "status.json"
    written: dict[Path, str] = {}
    if record.is_file():
        saved = read_json(record)
        with reading(record, "run medlangevin preprocess again"):
            for subject, person in saved["persons"].items():
                for ear in person["ears"]:
                    written[root / "crops" / f"sub-{subject}_side-{ear['side']}_ct.nii.gz"] = ear["sha256"]
    for ear in ears:
        digest = written.get(ear.image)
        if digest is not None and hashlib.sha256(ear.image.read_bytes()).hexdigest() != digest:
            changed = f"{ear.image} is not the crop that preprocess wrote (its sha256 is not that of {record.name})"
            raise MedlangevinError(f"{changed}; run medlangevin preprocess again, and the crop is made anew")


def _common_grid(ears: list[Ear]) -> tuple[np.ndarray, tuple[int, int, int]]:
    first = ears[0].image
    affine, shape = _header(first)
    for ear in ears[1:]:
        other_affine, other_shape = _header(ear.image)
        if other_shape != shape:
            differ = f"{ear.image} has shape {sizes(other_shape)} but {first.name} has {sizes(shape)}"
            raise MedlangevinError(f"{differ}; run preprocess again")
        if not np.allclose(other_affine, affine, atol=1e-3):
            differ = f"{ear.image} lies on another grid than {first.name} (affines differ)"
            raise MedlangevinError(f"{differ}; run preprocess again")
    return affine, shape


def _header(path: Path) -> tuple[np.ndarray, tuple[int, int, int]]:
    try:
        image = open_nifti(path)
        believable = can_be_crop(path, image.shape, image.get_data_dtype().itemsize)
        affine = np.asarray(image.affine, dtype=np.float64)
    except FileNotFoundError as error:
        raise MedlangevinError(f"{path} is listed in dataset.json but absent; run preprocess again") from error
    except UNREADABLE as error:
        raise MedlangevinError(f"{path} is not a readable NIfTI file; run medlangevin preprocess again") from error
    shape = tuple(int(size) for size in image.shape)
    if not believable:
        claim = f"{path} claims {sizes(shape)} voxels, more than it can hold or a crop has"
        raise MedlangevinError(f"{claim}; make it again")
    if len(shape) != 3:
        raise MedlangevinError(f"{path} has {len(shape)} dimensions, a crop has 3; run medlangevin preprocess again")
    if not usable_affine(affine):
        raise MedlangevinError(f"{path} has no usable affine (voxel to mm); run medlangevin preprocess again")
    return affine, shape
