"""Which volumes a folder holds."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medlangevin.datasets.datalist import SPLITS
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


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
        if not paths and place.is_dir():
            # macOS leaves a file ._NAME beside each file on foreign discs.
            paths = [path for path in place.iterdir() if _ENDING.search(path.name) and not path.name.startswith(".")]
    if not paths:
        remedy = "give the output of preprocess or generate"
        raise MedlangevinError(f"no NIfTI volumes (*.nii, *.nii.gz) in {folder}; {remedy}")
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
    return _ENDING.sub("", path.name)
