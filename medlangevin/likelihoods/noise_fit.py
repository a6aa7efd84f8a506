"""The spectrum of a scan's noise, from places without anatomy: homogeneous bone, or else the upper half of frequencies.

Autocorrelations of detrended patches are compared with what the model's covariance gives after the same detrending, so
that the slow part of the noise, which goes with the trend, is not taken for absent.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from medlangevin.likelihoods.axes import along_axes, cosine_transform
from medlangevin.likelihoods.bone import Floats, HomogeneousBone, lagged, trend_basis
from medlangevin.likelihoods.noise import LowPass

# Fewer patches say too little.
_FEWEST = 20
# The least power over that of the plateau. Resampled noise falls to 1e-6 of it, and a decoder would spend itself on
# such frequencies; at 1e-2, 85 % of all frequencies would lie on the floor and the learned scale would be 40 % low.
FLOOR = 1e-3
_ROUNDING_HU2 = 1 / 12
# Cut-offs (cycles per voxel) and exponents to start from, and between which they are looked for.
_START, _LOWEST, _HIGHEST = (0.2, 2.0), (0.02, 1.0), (2.0, 8.0)


class NoiseFit(NamedTuple):
    """What is known of the noise of images.

    Attributes:
        low_pass: The shape of its spectrum.
        scale: Its standard deviation in the units of x, in the median ear where it is from bone.
        spread: The standard deviation of the logarithm of that over ears; None where it is not from bone.
        source: Where it was measured, in words.
    """

    low_pass: LowPass
    scale: float
    spread: float | None
    source: str

    def describe(self) -> str:
        """The fit for a log.

        Returns:
            One line.
        """
        cutoffs = ", ".join(f"{cutoff:.2f}" for cutoff in self.low_pass.cutoffs)
        return f"noise from {self.source}: half power at {cutoffs} cycles per voxel, floor {self.low_pass.floor:.3g}"


def fit_noise(images: Iterable[Tensor], mean_image: Tensor, window_hu: tuple[float, float] | None) -> NoiseFit:
    """Fit the shape of the noise's spectrum.

    Args:
        images: Batches (N, C, *spatial) in [0, 1].
        mean_image: Their mean, (C, *spatial): it says where bone is homogeneous, and residuals from it are taken where
            there is none.
        window_hu: The HU of 0 and 1; None where images are not CT.

    Returns:
        The fit.
    """
    shape = tuple(mean_image.shape[1:])
    bone = None if window_hu is None else HomogeneousBone.of(mean_image[0].double().numpy(), window_hu)
    ears, power, count = [], torch.zeros(shape, dtype=torch.float64), 0
    transforms = [cosine_transform(size) for size in shape]
    for batch in images:
        for image in batch.cpu().double():
            ears += [] if bone is None else [bone.noise(image[0].numpy())]
            power += along_axes(image - mean_image, transforms).square().mean(0)
            count += 1
    measured = [ear for ear in ears if ear is not None]
    patches = sum(ear.patches for ear in measured)
    width = None if window_hu is None else window_hu[1] - window_hu[0]
    if bone is None or patches < _FEWEST:
        low_pass, scale = _fit_high_half((power / count).numpy())
        return NoiseFit(_with_floor(low_pass, scale, shape, width), scale, None, "the upper half of frequencies")
    correlation = [np.mean(values, axis=0) for values in zip(*[ear.correlation for ear in measured], strict=True)]
    low_pass, left = _fit_autocorrelation(correlation, shape, bone.side)
    scales = np.array([ear.scale for ear in measured]) / left
    scale, spread = float(np.median(scales)), float(np.log(scales).std())
    source = f"{patches} patches of bone in {len(measured)} ears"
    return NoiseFit(_with_floor(low_pass, scale, shape, width), scale, spread, source)


def _detrended_noise(side: tuple[int, ...]) -> Callable[[Floats], tuple[float, Floats]]:
    """Variance and autocorrelation, at all lags of all axes, of detrended noise of an autocovariance (*side).

    The mean product at a lag is the sum over voxels u and v of (P M P)_uv r(u - v), where P takes the trend off and M
    are the pairs of voxels at that lag: linear in the autocovariance r, with weights that are added up once.
    """
    trend = trend_basis(side)
    voxels = np.indices(side).reshape(len(side), -1)
    distance = np.ravel_multi_index(tuple(np.abs(part[:, None] - part) for part in voxels), side).ravel()
    projection = (np.eye(len(trend)) - trend @ trend.T).reshape(*side, -1)

    def weights(first: Floats, second: Floats) -> Floats:
        first, second = (part.reshape(-1, len(trend)) for part in (first, second))
        return np.asarray(np.bincount(distance, (first.T @ second).ravel() / len(first), len(trend)), np.float64)

    variance = weights(projection, projection)
    products = np.array([weights(*pair) for axis in range(len(side)) for pair in lagged(projection, axis)])

    def expected(covariance: Floats) -> tuple[float, Floats]:
        left = float(variance @ covariance.ravel())
        return left, products @ covariance.ravel() / left

    return expected


def _fit_autocorrelation(
    correlation: list[Floats], shape: tuple[int, ...], side: tuple[int, ...]
) -> tuple[LowPass, float]:
    """The spectrum by least squares of the autocorrelation, and the share of the scale that is left without a trend."""
    expected, measured = _detrended_noise(side), np.concatenate(correlation)
    # The autocovariance at distances 0, 1, ... far from the edges, by the midpoint rule over frequency.
    frequencies = [(torch.arange(size, dtype=torch.float64) + 0.5) / (2 * size) for size in shape]
    cosines = [
        torch.cos(2 * math.pi * torch.arange(length)[:, None] * frequency)
        for frequency, length in zip(frequencies, side, strict=True)
    ]

    def detrended(parameters: Floats) -> tuple[float, Floats]:
        power = _low_pass(parameters).at(frequencies)
        return expected(along_axes(power / power.mean(), cosines).numpy() / power.numel())

    axes = len(shape)
    found = _solved(lambda parameters: detrended(parameters)[1] - measured, [0] * axes + [1] * axes)
    return _low_pass(found), math.sqrt(detrended(found)[0])


def _fit_high_half(power: Floats) -> tuple[LowPass, float]:
    """A Gaussian spectrum and the scale from the mean power of residuals, in log, where anatomy has little.

    Where the plateau is not seen, exponents cannot be told from cut-offs.
    """
    shape = power.shape
    radius = sum((index / size) ** 2 for index, size in zip(np.indices(shape), shape, strict=True))
    high = radius >= 0.25 * radius.max()
    measured = np.log(power[high] + 1e-12 * power.max() + 1e-30)
    exponents = np.full(len(shape), math.log(_START[1]))

    def difference(cutoffs: Floats) -> Floats:
        low_pass = _low_pass(np.concatenate([cutoffs, exponents]))
        return measured - np.log(low_pass.power(shape).numpy()[high])

    cutoffs = _solved(lambda cutoffs: (found := difference(cutoffs)) - found.mean(), [0] * len(shape))
    return _low_pass(np.concatenate([cutoffs, exponents])), math.exp(0.5 * difference(cutoffs).mean())


def _solved(misfit: Callable[[Floats], Floats], kinds: list[int]) -> Floats:
    """Logarithms of parameters by least squares; ``kinds``: 0 for each cut-off, 1 for each exponent."""
    start, lowest, highest = (np.log([pair[kind] for kind in kinds]) for pair in (_START, _LOWEST, _HIGHEST))
    return least_squares(misfit, start, bounds=(lowest, highest)).x


def _low_pass(parameters: Floats) -> LowPass:
    cutoffs, exponents = np.split(np.exp(parameters), 2)
    return LowPass(tuple(cutoffs.tolist()), tuple(exponents.tolist()), FLOOR)


def _with_floor(low_pass: LowPass, scale: float, shape: tuple[int, ...], window_width: float | None) -> LowPass:
    """The floor raised to what rounding to whole HU leaves, where that is more."""
    if window_width is None or scale == 0:
        return low_pass
    plateau = low_pass.power(shape).max().item() * scale**2
    rounding = _ROUNDING_HU2 / window_width**2 / plateau
    return low_pass._replace(floor=min(1.0, max(low_pass.floor, rounding)))
