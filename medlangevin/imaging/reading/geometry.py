"""Slices to volumes: sort by position, drop copies, check distances, and say by name what is wrong."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading.consistency import of_one_scale
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.imaging.reading.slice_pixels import read_slices

# The cochlea is 10 mm long and its turns are 1 mm apart: coarser voxels do not show it.
MAX_SPACING_MM = 0.7
MIN_EXTENT_MM = 10.0
MAX_TILT_DEG = 30.0
SAME_POSITION_MM = 0.01


class Geometry(NamedTuple):
    """Grid of a volume in LPS mm.

    ``direction``: (3, 3), columns are the unit vectors of i (along a row), j and k. With a tilted gantry k is not
    normal to the slices; the shear stays in the matrix, so that the one resampling corrects it.
    """

    origin: NDArray[np.float64]
    direction: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    size: tuple[int, int, int]
    tilt_deg: float


@dataclass(frozen=True)
class Stack:
    """Slices in order of position and the grid they form."""

    slices: tuple[SliceHeader, ...]
    geometry: Geometry


def stacks(slices: tuple[SliceHeader, ...]) -> list[Stack]:
    """The geometrically consistent runs of a series that are fine and long enough to hold a cochlea.

    ``slices`` share orientation, matrix and pixel size. Raises UnusableSeriesError that names every problem when no
    run is left.
    """
    runs: list[Stack] = []
    problems: list[Reason] = []
    for acquisition in _without_duplicates(slices):
        alike, odd = of_one_scale(acquisition)
        problems += [odd] if odd else []
        for run, gap in _even_runs(alike):
            stack = Stack(run, _grid(run)) if len(run) > 1 else None
            found = ([gap] if gap else []) + _problems(run, stack)
            # A gap matters only if what is left on its side is too short.
            if stack is not None and all(problem is gap for problem in found):
                runs.append(stack)
            problems += found
    if runs:
        return runs
    first = list(dict.fromkeys(problems))
    # Leftovers beside a gap are single slices too; that says nothing new.
    first = [reason for reason in first if reason.code != "too-few-slices"] or first
    raise UnusableSeriesError(
        Reason(first[0].code, "; ".join(reason.text for reason in first), first[0].advice, first[0].failure)
    )


def _without_duplicates(slices: tuple[SliceHeader, ...]) -> list[list[SliceHeader]]:
    """One list per volume, sorted by position, copies dropped. Raises UnusableSeriesError if positions stay doubled."""
    ordered = _sorted(_without_copies(slices, lambda item: (item.instance_uid, item.frame)))
    parts = _parted(ordered, PARTING)
    if parts is None:
        # Some archives send an image again under a new id, or a whole series again as one file.
        ordered = _sorted(_without_copies(ordered, lambda item: None))
        parts = _parted(ordered, [*PARTING, _file_of_frames])
    if parts is not None:
        return parts
    text = (
        "all slices lie at one position"
        if np.ptp(_heights(ordered)) < SAME_POSITION_MM
        else "different slices lie at the same position"
    )
    raise UnusableSeriesError(Reason("duplicate-position", text, "export one reconstruction per series"))


def _without_copies(slices: Iterable[SliceHeader], identity: Callable[[SliceHeader], Any]) -> list[SliceHeader]:
    """Of slices of one identity at one position that show the same values, the first.

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
    return list(kept.values())


def _acquisition(item: SliceHeader) -> Any:
    return item.acquisition


def _field_of_view(item: SliceHeader) -> Any:
    return tuple(np.round(np.reshape(item.orientation, (2, 3)) @ item.position, 1) + 0.0)


def _file_of_frames(item: SliceHeader) -> Any:
    return item.path if item.frame is not None else None


# What tells volumes at the same heights apart.
PARTING = [_acquisition, _field_of_view, lambda item: (_acquisition(item), _field_of_view(item))]


def _parted(ordered: list[SliceHeader], rules: list[Callable[[SliceHeader], Any]]) -> list[list[SliceHeader]] | None:
    """The parts by the first rule that leaves no doubled positions; None if no rule does.

    A table that did not move gives acquisitions of one slice each: those are no volumes.
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


def _even_runs(ordered: list[SliceHeader]) -> list[tuple[tuple[SliceHeader, ...], Reason | None]]:
    """Split where the distance changes; every run of a split series carries the reason of the split."""
    if len(ordered) < 3:
        return [(tuple(ordered), None)]
    steps = np.diff(_heights(ordered))
    usual = float(np.median(steps))
    uneven = np.abs(steps - usual) > max(0.02, 0.05 * usual)
    if not uneven.any():
        return [(tuple(ordered), None)]
    multiples = steps[uneven] / usual
    if np.all(np.abs(multiples - np.round(multiples)) < 0.1) and np.all(multiples > 1.5):
        missing = int(np.sum(np.round(multiples) - 1))
        text = f"{missing} slice{'s' if missing > 1 else ''} missing (step {usual:.3g} mm, then {steps.max():.3g} mm)"
        reason = Reason("missing-slice", text, "export the complete series again")
    else:
        text = f"the slice distance varies from {steps.min():.3g} to {steps.max():.3g} mm"
        reason = Reason("uneven-slices", text, "export one evenly spaced reconstruction per series")
    cuts = np.flatnonzero(uneven) + 1
    parts = np.split(np.arange(len(ordered)), cuts)
    return [(tuple(ordered[index] for index in part), reason) for part in parts]


def _problems(run: tuple[SliceHeader, ...], stack: Stack | None) -> list[Reason]:
    if stack is None:
        return [Reason("too-few-slices", "one slice only, no volume", "export the whole series")]
    geometry = stack.geometry
    found = [problem for problem in (grid_problem(geometry), shear_problem(geometry)) if problem]
    positions = np.array([item.position for item in run])
    even = np.linspace(positions[0], positions[-1], len(run))
    if np.abs(positions - even).max() > 0.1:
        found.append(Reason("crooked-stack", "the slices do not lie on one line", "export the original axial series"))
    return found


def shear_problem(geometry: Geometry) -> Reason | None:
    """Slices sheared too far against each other, by a gantry tilt or in a volume file."""
    if geometry.tilt_deg <= MAX_TILT_DEG:
        return None
    text = f"the slices are sheared by {geometry.tilt_deg:.0f} degrees (limit {MAX_TILT_DEG:.0f})"
    return Reason("tilt", text, "export an untilted reconstruction")


def grid_problem(geometry: Geometry) -> Reason | None:
    """Voxels too coarse, or a volume too small to hold a cochlea."""
    spacing = geometry.spacing_mm
    if spacing.max() > MAX_SPACING_MM or spacing.min() <= 0:
        shown = " x ".join(f"{value:.3g}" for value in spacing)
        text = f"voxels of {shown} mm are too coarse (limit {MAX_SPACING_MM} mm)"
        return Reason("too-coarse", text, "use the thin-slice bone reconstruction")
    extent = spacing * geometry.size
    if extent.min() < MIN_EXTENT_MM:
        shown = " x ".join(f"{value:.0f}" for value in extent)
        text = f"a volume of {shown} mm is too small to hold a cochlea ({MIN_EXTENT_MM:.0f} mm needed)"
        return Reason("too-small", text, "export the whole series")
    return None


def affine_geometry(affine: NDArray[np.float64], size: tuple[int, int, int]) -> Geometry:
    """The grid of an invertible matrix (4, 4) from (i, j, k) to LPS mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    # The largest angle between an axis and the normal of the other two.
    normals = np.cross(np.roll(direction, -1, axis=1), np.roll(direction, -2, axis=1), axis=0)
    along = np.abs((normals * direction).sum(axis=0)) / np.linalg.norm(normals, axis=0)
    tilt = float(np.degrees(np.arccos(np.clip(along.min(), 0, 1))))
    return Geometry(affine[:3, 3], direction, spacing, size, tilt)


def _grid(run: tuple[SliceHeader, ...]) -> Geometry:
    first, last = np.array(run[0].position), np.array(run[-1].position)
    affine = np.eye(4)
    # DICOM gives the distance between rows (along j) first.
    affine[:3, 0] = np.array(run[0].orientation[:3]) * run[0].spacing_mm[1]
    affine[:3, 1] = np.array(run[0].orientation[3:]) * run[0].spacing_mm[0]
    affine[:3, 2] = (last - first) / (len(run) - 1)
    affine[:3, 3] = first
    rows, columns = run[0].shape
    return affine_geometry(affine, (columns, rows, len(run)))


def _heights(slices: list[SliceHeader]) -> NDArray[np.float64]:
    row, column = np.array(slices[0].orientation[:3]), np.array(slices[0].orientation[3:])
    return np.array([item.position for item in slices]) @ np.cross(row, column)


def _sorted(slices: list[SliceHeader]) -> list[SliceHeader]:
    return [slices[index] for index in np.argsort(_heights(slices), kind="stable")]


def _has_duplicates(ordered: list[SliceHeader]) -> bool:
    return len(ordered) > 1 and bool((np.diff(_heights(ordered)) < SAME_POSITION_MM).any())
