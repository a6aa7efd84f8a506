"""Slices to volumes: sort by position, drop copies, check distances, and say by name what is wrong."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.acquisitions import parted, seams
from medlangevin.imaging.reading.consistency import with_usual_scale
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.imaging.reading.slice_pixels import read_slices
from medlangevin.imaging.reading.slice_spacing import even_parts, heights, line, off_line_mm

# The cochlea is 10 mm long and its turns are 1 mm apart: coarser voxels do not show it.
MAX_SPACING_MM = 0.7
MIN_EXTENT_MM = 10.0
MAX_TILT_DEG = 30.0
SAME_POSITION_MM = 0.01
# Voxels of a scan of the head are of neither size: their numbers are micrometres, or metres (or mm called micrometres).
IN_MICROMETRES, IN_METRES = 20.0, 0.01


class Geometry(NamedTuple):
    """Grid of a volume in LPS mm.

    Attributes:
        origin: (3,), the centre of voxel 0.
        direction: (3, 3), columns are the unit vectors of i (along a row), j and k. With a tilted gantry k is not
            normal to the slices; the shear stays in the matrix, so that the one resampling corrects it.
        spacing_mm: (3,), along i, j and k.
        size: Voxels along i, j and k.
        tilt_deg: The largest angle between an axis and the normal of the other two.
    """

    origin: NDArray[np.float64]
    direction: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    size: tuple[int, int, int]
    tilt_deg: float


@dataclass(frozen=True)
class Stack:
    """Slices in order of position and the grid they form.

    Attributes:
        slices: The slices.
        geometry: Their grid.
        gap: Why they are not all slices of their volume; None where they are.
        seams: Where two acquisitions join: LPS mm of a point between the two slices.
    """

    slices: tuple[SliceHeader, ...]
    geometry: Geometry
    gap: Reason | None = None
    seams: tuple[tuple[float, ...], ...] = ()


def stacks(slices: tuple[SliceHeader, ...]) -> list[Stack]:
    """Find the evenly spaced parts of a series that are fine and long enough to hold a cochlea.

    Args:
        slices: Of one orientation, matrix and pixel size.

    Returns:
        A stack for each part, at least one.

    Raises:
        UnusableSeriesError: No part is left; names every problem.
    """
    found: list[Stack] = []
    problems: list[Reason] = []
    acquisitions = parted(_without_copies(slices, lambda item: (item.instance_uid, item.frame)))
    for volume in (volume for acquisition in acquisitions for volume in _separate_volumes(acquisition)):
        alike, odd = with_usual_scale(volume)
        problems += [odd] if odd else []
        for part, gap in even_parts(alike):
            stack = Stack(part, _grid(part), gap, seams(part)) if len(part) > 1 else None
            wrong = ([gap] if gap else []) + _problems(stack)
            # A gap matters only if what is left on its side is too short.
            if stack is not None and all(problem is gap for problem in wrong):
                found.append(stack)
            problems += wrong
    if found:
        return found
    named = list(dict.fromkeys(problems))
    # Leftovers beside a gap are single slices too; that says nothing new.
    named = [reason for reason in named if reason != rejection.TOO_FEW_SLICES] or named
    texts = [reason.text for reason in named]
    if len(acquisitions) > 1:
        texts.append(f"{len(acquisitions)} acquisitions of the same place lie in one series, each a volume of its own")
    raise UnusableSeriesError(named[0].with_text("; ".join(texts)))


def _separate_volumes(ordered: list[SliceHeader]) -> list[list[SliceHeader]]:
    """One list per volume, sorted by position, copies dropped. Raises UnusableSeriesError if positions stay doubled."""
    parts = _parted(ordered, VOLUME_KEYS)
    if parts is None:
        # Some archives send an image again under a new id, or a whole series again as one file.
        ordered = _without_copies(ordered, lambda item: None)
        parts = _parted(ordered, [*VOLUME_KEYS, lambda item: item.path if item.frame is not None else None])
    if parts is not None:
        return parts
    reason = rejection.DUPLICATE_POSITION
    if np.ptp(heights(ordered)) < SAME_POSITION_MM:
        reason = reason.with_text("all slices lie at one position")
    raise UnusableSeriesError(reason)


def _without_copies(slices: Iterable[SliceHeader], identity: Callable[[SliceHeader], Any]) -> list[SliceHeader]:
    """Of slices of one identity at one position that show the same values, the first; sorted by position.

    The id alone does not tell: some anonymisers give all slices the same one.
    """
    ordered = sorted(slices, key=lambda one: (one.instance_uid, str(one.path), one.frame or 0))
    keys = [(identity(item), *np.round(item.position, 2)) for item in ordered]
    times = Counter(keys)
    # Pixels are read only where something is doubled.
    doubled = [item for item, key in zip(ordered, keys, strict=True) if times[key] > 1]
    digests = (sha256(values.tobytes()).digest() for values in read_slices(doubled))
    contents = {id(item): digest for item, digest in zip(doubled, digests, strict=True)}
    kept: dict[Any, SliceHeader] = {}
    for item, key in zip(ordered, keys, strict=True):
        kept.setdefault((key, contents.get(id(item))), item)
    left = list(kept.values())
    return [left[index] for index in np.argsort(heights(left), kind="stable")]


def _field_of_view(item: SliceHeader) -> Any:
    return tuple(np.round(np.reshape(item.orientation, (2, 3)) @ item.position, 1) + 0.0)


# What tells volumes at the same heights apart.
VOLUME_KEYS: list[Callable[[SliceHeader], Any]] = [
    attrgetter("acquisition"),
    _field_of_view,
    lambda item: (item.acquisition, _field_of_view(item)),
]


def _parted(ordered: list[SliceHeader], rules: list[Callable[[SliceHeader], Any]]) -> list[list[SliceHeader]] | None:
    """The parts by the first rule that leaves no doubled positions; None if no rule does.

    A table that did not move gives acquisitions of one slice each: those are not volumes.
    """
    if not _has_duplicates(ordered):
        return [ordered]
    for rule in rules:
        parts: dict[Any, list[SliceHeader]] = {}
        for item in ordered:
            parts.setdefault(rule(item), []).append(item)
        found = list(parts.values())
        if not any(_has_duplicates(part) for part in found) and max(len(part) for part in found) > 1:
            return found
    return None


def _problems(stack: Stack | None) -> list[Reason]:
    if stack is None:
        return [rejection.TOO_FEW_SLICES]
    found = grid_problems(stack.geometry)
    if off_line_mm(stack.slices) > 0.1:
        found.append(rejection.CROOKED_STACK)
    return found


def grid_problems(geometry: Geometry) -> list[Reason]:
    """Refuse voxels that are too coarse, else a volume too small to hold a cochlea; and slices sheared too far.

    Args:
        geometry: The grid.

    Returns:
        The reasons; none for voxels up to 0.7 mm in at least 10 mm, sheared by up to 30 degrees (by a gantry tilt or
        in a volume file).
    """
    found = []
    spacing = geometry.spacing_mm
    extent = spacing * geometry.size
    shown = " x ".join(f"{value:.3g}" for value in spacing)
    if spacing.min() > IN_MICROMETRES or 0 < spacing.max() < IN_METRES:
        text = f"voxels of {shown} mm: the header says another unit of length than it uses"
        found.append(rejection.VOXEL_SIZE.with_text(text))
    elif spacing.max() > MAX_SPACING_MM or spacing.min() <= 0:
        text = f"voxels of {shown} mm are too coarse (limit {MAX_SPACING_MM} mm)"
        found.append(rejection.TOO_COARSE.with_text(text))
    elif extent.min() < MIN_EXTENT_MM:
        shown = " x ".join(f"{value:.0f}" for value in extent)
        text = f"a volume of {shown} mm is too small to hold a cochlea ({MIN_EXTENT_MM:.0f} mm needed)"
        found.append(rejection.TOO_SMALL.with_text(text))
    if geometry.tilt_deg > MAX_TILT_DEG:
        text = f"the slices are sheared by {geometry.tilt_deg:.0f} degrees (limit {MAX_TILT_DEG:.0f})"
        found.append(rejection.TILT.with_text(text))
    return found


def affine_geometry(affine: NDArray[np.float64], size: tuple[int, int, int]) -> Geometry:
    """Take an affine matrix apart.

    Args:
        affine: Invertible, (4, 4), from (i, j, k) to LPS mm.
        size: Voxels along i, j and k.

    Returns:
        The grid.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    # The largest angle between an axis and the normal of the other two.
    normals = np.cross(np.roll(direction, -1, axis=1), np.roll(direction, -2, axis=1), axis=0)
    along = np.abs((normals * direction).sum(axis=0)) / np.linalg.norm(normals, axis=0)
    tilt = float(np.degrees(np.arccos(np.clip(along.min(), 0, 1))))
    return Geometry(affine[:3, 3], direction, spacing, size, tilt)


def corner_indices(size: Sequence[int]) -> NDArray[np.int64]:
    """List the corner voxels of a grid.

    Args:
        size: Voxels along i, j and k.

    Returns:
        (8, 3): their indices (i, j, k).
    """
    return np.array(list(product(*[(0, length - 1) for length in size])))


def _grid(slices: Sequence[SliceHeader]) -> Geometry:
    head = slices[0]
    first, step = line(slices)
    affine = np.eye(4)
    # DICOM gives the distance between rows (along j) first.
    affine[:3, :2] = np.reshape(head.orientation, (2, 3)).T * head.spacing_mm[::-1]
    affine[:3, 2] = step
    affine[:3, 3] = first
    rows, columns = head.shape
    return affine_geometry(affine, (columns, rows, len(slices)))


def _has_duplicates(ordered: list[SliceHeader]) -> bool:
    return len(ordered) > 1 and bool((np.diff(heights(ordered)) < SAME_POSITION_MM).any())
