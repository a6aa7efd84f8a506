"""Noise where there is no anatomy: patches of homogeneous bone, less their trends."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BONE_HU = (1200.0, 2500.0)
# Side of a patch, steps between patches, and lags of the autocorrelation, in voxels.
_PATCH, _STEP, _LAGS = 8, 4, 3
# The share of the mean ear's patches of bone that is taken for homogeneous: those with the least variance.
_HOMOGENEOUS = 0.25
# An ear's patches with so many times the median variance hold anatomy; noise alone reaches 1.5 times in a hundredth.
_OUTLIER = 2.0
# Less is rounding of the arithmetic.
_LEAST_VARIANCE = 1e-12


class Noise(NamedTuple):
    """The noise in an ear's homogeneous bone.

    Attributes:
        scale: Its standard deviation in the units of x, after a quadratic trend is taken off.
        correlation: For each axis its autocorrelation at the lags 1 to 3, or as many as fit.
        patches: How many patches were measured.
    """

    scale: float
    correlation: tuple[Floats, ...]
    patches: int


class HomogeneousBone(NamedTuple):
    """Where the mean ear has homogeneous bone: a quarter of its patches of bone, those with the least variance.

    The choice does not look at the noise of a single ear, and so does not prefer patches that have little by chance.

    Attributes:
        corners: The patches' first voxels, (n, axes).
        side: Voxels of a patch along each axis.
        window_hu: The HU of 0 and 1.
    """

    corners: NDArray[np.intp]
    side: tuple[int, ...]
    window_hu: tuple[float, float]

    @classmethod
    def of(cls, mean_ear: Floats, window_hu: tuple[float, float]) -> "HomogeneousBone":
        """Find it.

        Args:
            mean_ear: The mean of several ears, in [0, 1], (i, j, k).
            window_hu: The HU of 0 and 1.

        Returns:
            Where it is.
        """
        side = tuple(min(_PATCH, size) for size in mean_ear.shape)
        starts = [np.arange(0, size - length + 1, _STEP) for size, length in zip(mean_ear.shape, side, strict=True)]
        found = cls(np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(side)), side, window_hu)
        patches, is_bone = found._patches(mean_ear)
        squares = (_detrended(patches) ** 2).mean(tuple(range(1, patches.ndim)))
        limit = np.quantile(squares[is_bone], _HOMOGENEOUS) if is_bone.any() else 0.0
        return found._replace(corners=found.corners[is_bone & (squares <= limit)])

    def noise(self, ear: Floats) -> Noise | None:
        """Measure the noise of an ear.

        Args:
            ear: In [0, 1], (i, j, k).

        Returns:
            It; None where there is no bone free of clipped voxels, or no noise.
        """
        patches, is_bone = self._patches(ear)
        residuals = _detrended(patches[is_bone])
        inner = tuple(range(1, residuals.ndim))
        variance = (residuals**2).mean(inner)
        variance, residuals = variance[variance > _LEAST_VARIANCE], residuals[variance > _LEAST_VARIANCE]
        if not len(variance):
            return None
        even = variance <= _OUTLIER * np.median(variance)
        variance, residuals = variance[even], residuals[even]
        correlation = tuple(
            np.array([(first * second).mean() for first, second in lagged(residuals, axis)]) / variance.mean()
            for axis in inner
        )
        return Noise(math.sqrt(variance.mean()), correlation, len(variance))

    def _patches(self, ear: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """All patches, (n, *side), and which of them are bone with no voxel clipped, as clipped ones have no noise."""
        windows = np.lib.stride_tricks.sliding_window_view(ear, self.side)
        patches = windows[tuple(self.corners.T)].astype(np.float64)
        flat = patches.reshape(len(patches), math.prod(self.side))
        low, high = ((hu - self.window_hu[0]) / (self.window_hu[1] - self.window_hu[0]) for hu in _BONE_HU)
        mean = flat.mean(1)
        return patches, (mean > low) & (mean < high) & (flat.min(1) > 0) & (flat.max(1) < 1)


def _detrended(patches: Floats) -> Floats:
    """Patches (n, *side) less their quadratic trends."""
    trend = trend_basis(patches.shape[1:])
    flat = patches.reshape(len(patches), len(trend))
    return (flat - flat @ trend @ trend.T).reshape(patches.shape)


def lagged(values: Floats, axis: int) -> Iterator[tuple[Floats, Floats]]:
    """The values at either end of each lag along an axis.

    Args:
        values: An array.
        axis: Which axis.

    Yields:
        For the lags 1 to 3, or as many as fit, two arrays.
    """
    size = values.shape[axis]
    for lag in range(1, min(_LAGS, size - 1) + 1):
        yield values.take(range(lag, size), axis), values.take(range(size - lag), axis)


def trend_basis(side: tuple[int, ...]) -> Floats:
    """An orthonormal basis of the polynomials of degree two on a patch.

    Args:
        side: Voxels along each axis.

    Returns:
        (voxels, terms).
    """
    axes = [axis.ravel() for axis in np.meshgrid(*[np.linspace(-1, 1, size) for size in side], indexing="ij")]
    pairs = itertools.combinations_with_replacement(axes, 2)
    basis, sizes, _ = np.linalg.svd(np.stack([np.ones(math.prod(side)), *axes, *[a * b for a, b in pairs]], 1), False)
    return basis[:, sizes > 1e-9 * sizes[0]]
