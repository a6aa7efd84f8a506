"""Several acquisitions in one series: the header tells them apart where the values cannot.

Where two show the same place they are two volumes. Where one follows the other, the patient may have moved in between.
"""

import re
from collections.abc import Hashable, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.imaging.reading.slice_spacing import even_parts, heights

# So many slices of both acquisitions lie between each other, where it is not a slip of the header.
MIN_SLICES = 4
# So much of what is parted has to be evenly spaced: labels without order leave nothing even.
EVEN_SHARE = 0.8
SAME_PLACE_MM = 0.01
# A table that stops for every rotation gives each a number: that is one scan, not many.
MAX_ROTATION_MM = 5.0
# No scan of a temporal bone pauses for longer.
PAUSE_S = 5.0
DAY_S = 86400.0

Labels = list[Hashable]


def parted(ordered: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part acquisitions that show the same place, by number, phase, reconstruction kernel or time.

    Args:
        ordered: Slices of one series, sorted by height.

    Returns:
        A list for each acquisition, sorted by height; all slices in one where there is one.
    """
    for labels in (*_named(ordered).values(), _sweeps(ordered)):
        groups: dict[Hashable, list[SliceHeader]] = {}
        for item, label in zip(ordered, labels, strict=True):
            groups.setdefault(label, []).append(item)
        found = list(groups.values())
        if len(found) > 1 and _lie_between(found) and _are_even(found):
            return [part for group in found for part in parted(group)]
    return [list(ordered)]


def seams(ordered: Sequence[SliceHeader]) -> tuple[tuple[float, ...], ...]:
    """Find where one acquisition ends and the next begins.

    Args:
        ordered: Slices of one volume, sorted by height.

    Returns:
        LPS mm, half-way between the first pixels of the two slices of each seam.
    """
    after: set[int] = set()
    for name, labels in _named(ordered).items():
        changes = {k for k, (one, other) in enumerate(pairwise(labels)) if one != other}
        blocks = len(changes) + 1
        length = float(np.ptp(heights(ordered))) / blocks
        in_order = blocks == len(set(labels))
        if not (name == "acquisition" and in_order and blocks > MIN_SLICES - 1 and length < MAX_ROTATION_MM):
            after |= changes
    after |= _pauses(ordered)
    places = [np.mean([ordered[k].position, ordered[k + 1].position], axis=0) for k in sorted(after)]
    return tuple(tuple(place.tolist()) for place in places)


def _named(slices: Sequence[SliceHeader]) -> dict[str, Labels]:
    """What the header names, for each slice."""
    return {name: [getattr(item, name) for item in slices] for name in ("acquisition", "phase", "kernel")}


def _lie_between(groups: list[list[SliceHeader]]) -> bool:
    """Whether two groups show the same place, over several slices of both."""
    # All along the normal of one slice.
    flat = heights([item for group in groups for item in group])
    found = np.split(flat, np.cumsum([len(group) for group in groups])[:-1])
    for one, other in combinations(found, 2):
        low, high = max(one.min(), other.min()) - SAME_PLACE_MM, min(one.max(), other.max()) + SAME_PLACE_MM
        if all(np.count_nonzero((low <= each) & (each <= high)) >= MIN_SLICES for each in (one, other)):
            return True
    return False


def _are_even(groups: list[list[SliceHeader]]) -> bool:
    """Whether nearly all slices lie in evenly spaced runs of their own group."""
    runs = [len(part) for group in groups for part, _ in even_parts(group)]
    return sum(length for length in runs if length >= MIN_SLICES) >= EVEN_SHARE * sum(runs)


def _sweeps(slices: Sequence[SliceHeader]) -> Labels:
    """Number the sweeps of the table: in the order of time, a slice amid those before it begins another."""
    times = _times(slices)
    if times is None:
        return [0] * len(slices)
    at = heights(slices)
    labels = np.zeros(len(slices), int)
    low = high = None
    sweep = 0
    for time in np.unique(times):
        block = np.flatnonzero(times == time)
        first, last = at[block].min(), at[block].max()
        if low is None or high is None or (first <= high + SAME_PLACE_MM and last >= low - SAME_PLACE_MM):
            sweep, low, high = sweep + 1, first, last
        low, high = min(low, first), max(high, last)
        labels[block] = sweep
    return labels.tolist()


def _pauses(ordered: Sequence[SliceHeader]) -> set[int]:
    """After which slices the scan paused; none where the times have another order than the slices."""
    times = _times(ordered)
    if times is None or len(set(_sweeps(ordered))) > 1:
        return set()
    gaps = np.abs(np.diff(times))
    gaps = np.minimum(gaps, DAY_S - gaps)
    usual = float(np.median(gaps[gaps > 0])) if np.count_nonzero(gaps) > 1 else 0.0
    return set(np.flatnonzero((gaps > PAUSE_S) & (gaps > 3 * usual)).tolist())


def _times(slices: Sequence[SliceHeader]) -> NDArray[np.float64] | None:
    """Seconds of the day; None where a slice does not say them."""
    found = [re.match(r"(\d\d):?(\d\d):?(\d\d(?:\.\d*)?)", item.time) for item in slices]
    parts = [[float(part) for part in match.groups()] for match in found if match]
    return np.array(parts) @ (3600, 60, 1) if len(parts) == len(slices) else None
