"""How alike the volumes of one set are: mean multi-scale structural similarity over pairs of different subjects."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

# The first three of the five scales of Wang et al. 2003, weights scaled to sum to 1: a fourth leaves 6 voxels an axis.
SCALE_WEIGHTS: Final = tuple(weight / 0.6305 for weight in (0.0448, 0.2856, 0.3001))
WINDOW_HU: Final = (-1000.0, 2500.0)
_KERNEL_VOXELS: Final = 5


class Similarity(NamedTuple):
    """How alike pairs of volumes are.

    Attributes:
        mean: Mean MS-SSIM over the pairs.
        standard_error: Of the mean, pairs taken as independent.
        pairs: How many pairs.
    """

    mean: float
    standard_error: float
    pairs: int


def choose_pairs(subjects: Sequence[str], count: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Draw different pairs of rows of different subjects at random.

    Args:
        subjects: The subject of each row.
        count: How many pairs at most.
        seed: Of the draw.

    Returns:
        The pairs; all of them when there are not more than ``count``.
    """
    pairs = itertools.combinations(range(len(subjects)), 2)
    rows = [(first, second) for first, second in pairs if subjects[first] != subjects[second]]
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[index] for index in chosen]


def ms_ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Multi-scale structural similarity of two volumes, with three scales and a Gaussian window of 5 voxels.

    Args:
        first: HU (i, j, k), cut to -1000 to 2500 HU; at least 20 voxels an axis.
        second: The same.

    Returns:
        MS-SSIM (Wang, Simoncelli and Bovik 2003): 1 for equal volumes.
    """
    from monai.metrics.regression import compute_ms_ssim  # takes five seconds, and a report seldom needs it

    low, high = WINDOW_HU
    scaled = [
        torch.from_numpy((np.clip(item, low, high) - low) / (high - low)).float()[None, None]
        for item in (first, second)
    ]
    value = compute_ms_ssim(
        *scaled, spatial_dims=3, kernel_size=_KERNEL_VOXELS, kernel_sigma=1.5, weights=SCALE_WEIGHTS
    )
    return float(value)


def pair_similarity(
    read: Callable[[int], NDArray[np.float32]], subjects: Sequence[str], *, pairs: int = 50, seed: int = 0
) -> Similarity:
    """Mean MS-SSIM over random pairs of different subjects: lower means more variety.

    Args:
        read: ``read(row)`` gives a volume (i, j, k) in HU.
        subjects: The subject of each row.
        pairs: How many pairs at most.
        seed: Of the choice of pairs.

    Returns:
        The mean and its error; NaN when there is no pair, or volumes differ in shape.
    """
    values = []
    for left, right in choose_pairs(subjects, pairs, seed=seed):
        first, second = read(left), read(right)
        if first.shape != second.shape:
            return Similarity(float("nan"), float("nan"), 0)
        values.append(ms_ssim(first, second))
    if not values:
        return Similarity(float("nan"), float("nan"), 0)
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return Similarity(float(np.mean(values)), error, len(values))
