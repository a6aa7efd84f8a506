"""Volume files that hold the same scan: one person must not be in training and test data under two names."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from medlangevin.imaging.reading.geometry import corner_indices
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.volume_file import load_volume, volume_shape

# Writers round: NIfTI keeps its matrix in single precision, NRRD as decimal digits.
SAME_PLACE_MM = 0.01


def without_copies(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    """Take out the volume files that show what an earlier one of them shows.

    Values are compared in whole HU, whatever the order of the axes. Only files of one matrix are read, one at a time; a
    file that cannot be read is not a copy.

    Args:
        series: In the order of names below the raw folder.

    Returns:
        The series without the copies, and the copies.
    """
    alike: dict[tuple[int, ...], list[Path]] = {}
    for path in (item.volume_file for item in series if item.volume_file is not None):
        with suppress(UnusableSeriesError):
            shape = volume_shape(path)
            alike.setdefault((*sorted(shape[:3]), *shape[3:]), []).append(path)
    copies: set[Path | None] = set()
    for paths in alike.values():
        seen: dict[bytes, list[NDArray[np.float64]]] = {}
        for path in paths if len(paths) > 1 else []:
            with suppress(UnusableSeriesError):
                digest, corners = _content(path)
                places = seen.setdefault(digest, [])
                if any(np.abs(place - corners).max() < SAME_PLACE_MM for place in places):
                    copies.add(path)
                places.append(corners)
    kept = tuple(item for item in series if item.volume_file not in copies)
    return kept, tuple(item for item in series if item.volume_file in copies)


def _content(path: Path) -> tuple[bytes, NDArray[np.float64]]:
    """A digest of the values in whole HU along axes near those of LPS, and where the corners lie, (8, 3) LPS mm."""
    values, geometry = load_volume(path)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = geometry.direction * geometry.spacing_mm, geometry.origin
    axes = io_orientation(affine)
    whole = apply_orientation(np.rint(np.nan_to_num(values)).astype(np.int32).T, axes)
    corners = apply_affine(affine @ inv_ornt_aff(axes, geometry.size), corner_indices(whole.shape))
    return sha256(np.ascontiguousarray(whole).tobytes()).digest(), corners
