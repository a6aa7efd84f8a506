"""How far slices lie from each other: evenly, rounded by the writer, with some missing, or unevenly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.rejection import Reason
from medlangevin.imaging.reading.slice_header import SliceHeader

# Some writers round positions to a tenth of a millimetre, so that slices of 0.25 mm lie 0.2 and 0.3 mm apart.
ROUNDED_TO_MM = 0.1
# Half of it, and what a line through rounded positions may be off.
OFF_LINE_MM = 0.07
# Nearer slices cannot be told apart by such positions.
MIN_ROUNDED_STEP_MM = 0.12

Part = tuple[SliceHeader, ...]


def heights(slices: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """Measure how high slices lie along the normal of the first.

    Args:
        slices: Parallel ones.

    Returns:
        (n,) mm.
    """
    return _positions(slices) @ np.cross(*np.reshape(slices[0].orientation, (2, 3)))


def even_parts(ordered: Sequence[SliceHeader]) -> list[tuple[Part, Reason | None]]:
    """Split where the distance changes.

    Args:
        ordered: Slices sorted by height.

    Returns:
        The parts; each part of a split series with the reason of the split, else None.
    """
    if len(ordered) < 3:
        return [(tuple(ordered), None)]
    steps = np.diff(heights(ordered))
    usual = float(np.median(steps))
    places = steps / usual
    uneven = np.abs(steps - usual) > max(0.02, 0.05 * usual)
    if uneven.any() and (numbers := _rounded_numbers(ordered)) is not None:
        places = np.diff(numbers)
        uneven = places > 1
        usual = float(np.ptp(heights(ordered)) / numbers[-1])
    if not uneven.any():
        return [(tuple(ordered), None)]
    far = places[uneven]
    if np.all(np.abs(far - np.round(far)) < 0.1) and np.all(far > 1.5):
        missing = int(np.sum(np.round(far) - 1))
        text = f"{missing} slice{'s' if missing > 1 else ''} missing (step {usual:.3g} mm, then {steps.max():.3g} mm)"
        reason = rejection.MISSING_SLICE.with_text(text)
    else:
        text = f"the slice distance varies from {steps.min():.3g} to {steps.max():.3g} mm"
        reason = rejection.UNEVEN_SLICES.with_text(text)
    parts = np.split(np.arange(len(ordered)), np.flatnonzero(uneven) + 1)
    return [(tuple(ordered[index] for index in part), reason) for part in parts]


def line(slices: Sequence[SliceHeader]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lay a line through slices that are evenly spaced.

    Args:
        slices: In order, at least two.

    Returns:
        Where the first slice lies, and the way from one to the next, (3,) LPS mm each.
    """
    positions = _positions(slices)
    if _is_rounded(positions):
        start, step = _fit(positions, np.arange(len(positions)))
        return start, step
    return positions[0], (positions[-1] - positions[0]) / (len(positions) - 1)


def off_line_mm(slices: Sequence[SliceHeader]) -> float:
    """Measure how far slices lie from the line through them.

    Args:
        slices: In order, at least two.

    Returns:
        The largest difference of a coordinate.
    """
    start, step = line(slices)
    return float(np.abs(_positions(slices) - start - np.arange(len(slices))[:, None] * step).max())


def _rounded_numbers(ordered: Sequence[SliceHeader]) -> NDArray[np.int64] | None:
    """The number of each slice on the grid that rounded positions come from; None where there is no such grid."""
    positions = _positions(ordered)
    if not _is_rounded(positions):
        return None
    above = heights(ordered) - heights(ordered)[0]
    for missing in range(len(ordered) // 4 + 1):
        step = above[-1] / (len(ordered) - 1 + missing)
        if step < MIN_ROUNDED_STEP_MM:
            return None
        numbers = np.rint(above / step).astype(np.int64)
        if np.diff(numbers).min() > 0:
            start, way = _fit(positions, numbers)
            if np.abs(positions - start - numbers[:, None] * way).max() < OFF_LINE_MM:
                return numbers
    return None


def _fit(positions: NDArray[np.float64], numbers: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    way, start = np.polyfit(numbers, positions, 1)
    return start, way


def _is_rounded(positions: NDArray[np.float64]) -> bool:
    tenths = positions / ROUNDED_TO_MM
    return bool(np.abs(tenths - np.rint(tenths)).max() < 1e-6)


def _positions(slices: Sequence[SliceHeader]) -> NDArray[np.float64]:
    return np.array([item.position for item in slices])
