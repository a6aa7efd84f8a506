"""Volume files that hold the same scan: one person must not be in training and test data under two names."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading.geometry import Geometry, corner_indices
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.reading.rejection import UnusableSeriesError
from medlangevin.imaging.reading.volume_file import load_volume, volume_shape

# Writers round: NIfTI keeps its matrix in single precision, NRRD as decimal digits.
SAME_PLACE_MM = 0.01


def without_copies(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    """Take out the volume files that show what an earlier one of them shows.

    Values are compared in whole HU. Only files of one matrix are read, one at a time; a file that cannot be read is
    not a copy.

    Args:
        series: In the order of names below the raw folder.

    Returns:
        The series without the copies, and the copies.
    """
    alike: dict[tuple[int, ...], list[Series]] = {}
    for item in series:
        shape = _shape(item.volume_file)
        if shape is not None:
            alike.setdefault(shape, []).append(item)
    copies: set[int] = set()
    for members in alike.values():
        seen: dict[bytes, list[NDArray[np.float64]]] = {}
        for item in members if len(members) > 1 else []:
            content = _content(item.volume_file)
            if content is None:
                continue
            places = seen.setdefault(content[0], [])
            if any(np.abs(place - content[1]).max() < SAME_PLACE_MM for place in places):
                copies.add(id(item))
            places.append(content[1])
    kept = tuple(item for item in series if id(item) not in copies)
    return kept, tuple(item for item in series if id(item) in copies)


def _shape(path: Path | None) -> tuple[int, ...] | None:
    try:
        return None if path is None else volume_shape(path)
    except UnusableSeriesError:
        return None


def _content(path: Path | None) -> tuple[bytes, NDArray[np.float64]] | None:
    """A digest of the values in whole HU, and where the corners lie; None when it cannot be read."""
    try:
        values, geometry = load_volume(path) if path is not None else (None, None)
    except UnusableSeriesError:
        return None
    if values is None or geometry is None:
        return None
    whole = np.rint(np.nan_to_num(values)).astype(np.int32)
    return sha256(np.ascontiguousarray(whole).tobytes()).digest(), _corners(geometry)


def _corners(geometry: Geometry) -> NDArray[np.float64]:
    return geometry.origin + corner_indices(geometry.size) @ (geometry.direction * geometry.spacing_mm).T
