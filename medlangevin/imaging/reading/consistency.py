"""Slices that do not belong among their neighbours: told by the header's scale, or by the values themselves."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from medlangevin.imaging.reading.rejection import MIXED_SCALE, ODD_SLICE, Reason
from medlangevin.imaging.reading.slice_header import SliceHeader

# From this share on, one scale is that of the series and another one is a damaged header. Below it, scales vary.
USUAL_SHARE = 0.75
# White noise alone gives 0.87, real scans at most 0.8; a slice from elsewhere gives 2 and more.
ODD_RATIO = 1.5
# An end has one neighbour only: how much larger the first step may be than the next. Real scans: at most 1.2.
ODD_END_RATIO = 2.0
# One difference between slices is compared with two to each side: repeated slices have none at every other.
BESIDE = (1, 1, 0, 1, 1)
# About as many rows and columns of a slice are looked at.
SAMPLES = 128


def with_usual_scale(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Reason | None]:
    """Leave out the few slices whose rescale, padding or bits differ from what most have.

    Scales that vary from slice to slice are legal: without a usual one, all are kept.

    Args:
        slices: Of one acquisition, at least one.

    Returns:
        The slices kept, in order, and why others were left out; None where all are kept.
    """
    scales = [(item.slope, item.intercept, item.padding, item.bits) for item in slices]
    usual, times = Counter(scales).most_common(1)[0]
    odd = len(slices) - times
    if not odd or times < USUAL_SHARE * len(slices):
        return list(slices), None
    text = f"{odd} slice{'s have' if odd > 1 else ' has'} another rescale, padding or bit depth than the others"
    kept = [item for item, scale in zip(slices, scales, strict=True) if scale == usual]
    return kept, MIXED_SCALE.with_text(text)


def odd_slices(volume: NDArray[np.int16]) -> list[int]:
    """Find the slices that differ from both neighbours while these agree.

    Compares, in the mean over a slice, the distance from the mean of the neighbours to the distance between them.
    Thus it needs no scale: noise and anatomy change both alike.

    Args:
        volume: HU, (k, j, i).

    Returns:
        Their indices k.
    """
    if len(volume) < 4:
        return []
    values = _sampled(volume)
    # Slices of one constant value have no noise; a difference of one HU does not count.
    between = np.maximum(_mean_size(values[2:] - values[:-2]), 1)
    away = _mean_size(values[1:-1] - (values[2:] + values[:-2]) / 2)
    found = (np.flatnonzero(away > ODD_RATIO * between) + 1).tolist()
    steps = np.maximum(_mean_size(np.diff(values, axis=0)), 1)
    # The step beside the first may belong to a slice that is odd itself.
    if 1 not in found and steps[0] > ODD_END_RATIO * steps[1]:
        found.insert(0, 0)
    if len(volume) - 2 not in found and steps[-1] > ODD_END_RATIO * steps[-2]:
        found.append(len(volume) - 1)
    return found


def continuity_problem(volume: NDArray[np.int16]) -> Reason | None:
    """Say why a volume is not a scan of one thing.

    Args:
        volume: HU, (k, j, i).

    Returns:
        The reason; None where all slices fit their neighbours.
    """
    odd = odd_slices(volume)
    if not odd:
        return None
    text = f"{len(odd)} of {len(volume)} slices do not fit their neighbours (damaged, wrongly scaled or out of place)"
    return ODD_SLICE.with_text(text)


def step_ratio(volume: NDArray[np.int16]) -> float:
    """Measure how much two neighbouring slices, along any axis, differ more than all those beside them do.

    Args:
        volume: HU, (k, j, i).

    Returns:
        About 1 in a scan of one piece; more where two blocks join with a step, as when the patient moved in between.
    """
    return max(_step_ratio(np.moveaxis(volume, axis, 0)) for axis in range(3))


def _step_ratio(volume: NDArray[np.int16]) -> float:
    values = _sampled(volume)
    # Where the scan ends, some programs go on with air: that is not a block.
    filled = np.flatnonzero(np.ptp(values, axis=(1, 2)) > 0)
    if len(filled) < 4:
        return 1.0
    steps = np.maximum(_mean_size(np.diff(values[filled[0] : filled[-1] + 1], axis=0)), 1)
    ratios = steps / maximum_filter(steps, footprint=BESIDE, mode="constant")
    return float(ratios[1:-1].max())


def _sampled(volume: NDArray[np.int16]) -> NDArray[np.float32]:
    """Every slice, with about SAMPLES of its rows and columns."""
    stride = [max(1, size // SAMPLES) for size in volume.shape[1:]]
    return volume[:, :: stride[0], :: stride[1]].astype(np.float32)


def _mean_size(differences: NDArray[np.floating]) -> NDArray[np.floating]:
    """Of the differences in each slice."""
    return np.abs(differences).mean(axis=(1, 2))
