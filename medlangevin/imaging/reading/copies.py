"""Volume files that hold the same scan: one person must not be in training and test data under two names."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading.geometry import Geometry
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.reading.volume_file import load_volume, volume_shape

DUPLICATE = Reason("duplicate-volume", "another file holds the same values at the same place, and is used", "nothing")
# Writers round: NIfTI keeps its matrix in single precision, NRRD as decimal digits.
SAME_PLACE_MM = 0.01


def without_copies(series: Sequence[Series]) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    """``series`` without the volume files that show what an earlier one of them shows, and those.

    Earlier in the order of names below the raw folder, as given. Values are compared in whole HU. Only files of one
    matrix are read, one at a time; a file that cannot be read is no copy.
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
    last = np.array(geometry.size) - 1
    steps = geometry.direction * geometry.spacing_mm
    index = np.array(np.meshgrid(*[[0, end] for end in last], indexing="ij")).reshape(3, -1)
    return geometry.origin[:, None] + steps @ index
