"""Where the noise of scans is strong, and how neighbouring voxels share it: parts of the Gaussian likelihood."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medlangevin.likelihoods.axes import along_axes, cosine_transform, interpolation

# Control points of a map of scales lie about so many voxels apart.
_VOXELS_PER_POINT = 8
# A cut-off so far beyond all frequencies leaves noise white.
_NO_CUTOFF = 1e9


class LowPass(NamedTuple):
    """The power of noise over frequency: flat up to a cut-off, then falling, never below a floor.

    Along each axis it falls as 2^-(f / cutoff)^exponent; the product over axes is not allowed below the floor.

    Attributes:
        cutoffs: The frequency along each axis where the power is a half, in cycles per voxel.
        exponents: How fast it falls there: 2 is a Gaussian, more is steeper.
        floor: The least power, as a fraction of that at frequency zero.
    """

    cutoffs: tuple[float, ...]
    exponents: tuple[float, ...]
    floor: float

    def at(self, frequencies: Sequence[Tensor]) -> Tensor:
        """The power at the points of a grid of frequencies.

        Args:
            frequencies: For each axis (n,) cycles per voxel, float64.

        Returns:
            (n_1, ..., n_k), as a fraction of that at frequency zero.
        """
        power = torch.ones((), dtype=torch.float64)
        for along, cutoff, exponent in zip(frequencies, self.cutoffs, self.exponents, strict=True):
            power = power[..., None] * torch.exp(-math.log(2) * (along / cutoff) ** exponent)
        return power.clamp(min=self.floor)

    def power(self, shape: tuple[int, ...]) -> Tensor:
        """lambda of each term of the cosine transform.

        Args:
            shape: Voxels along each axis.

        Returns:
            ``shape``, float64, of mean 1.
        """
        power = self.at([torch.arange(size, dtype=torch.float64) / (2 * size) for size in shape])
        return power / power.mean()


class NoiseSpectrum(nn.Module):
    """Noise of unit variance that neighbouring voxels share, R = E^-1 C^T diag(lambda) C E^-1; white until ``set``.

    C is the orthonormal cosine transform. At the edges of the grid C^T diag(lambda) C has a larger diagonal than
    inside; E is the root of that diagonal, so that every voxel has the variance 1.

    Args:
        shape: Voxels along each axis.
    """

    cutoffs: Tensor
    exponents: Tensor
    floor: Tensor
    root_power: Tensor
    edge: Tensor
    half_log_det: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        # The low pass is saved; what follows from it is not.
        self.register_buffer("cutoffs", torch.full((len(shape),), _NO_CUTOFF, dtype=torch.float64))
        self.register_buffer("exponents", torch.full((len(shape),), 2.0, dtype=torch.float64))
        self.register_buffer("floor", torch.zeros((), dtype=torch.float64))
        for axis, size in enumerate(shape):
            self.register_buffer(f"transform_{axis}", cosine_transform(size), persistent=False)
        for name in ("root_power", "edge"):
            self.register_buffer(name, torch.ones(shape, dtype=torch.float64), persistent=False)
        self.register_buffer("half_log_det", torch.zeros((), dtype=torch.float64), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module._derive())

    @property
    def low_pass(self) -> LowPass:
        """The shape of the spectrum."""
        return LowPass(tuple(self.cutoffs.tolist()), tuple(self.exponents.tolist()), self.floor.item())

    def set(self, low_pass: LowPass) -> None:
        """Fix the shape of the spectrum.

        Args:
            low_pass: The shape.
        """
        self.cutoffs.copy_(torch.tensor(low_pass.cutoffs, dtype=torch.float64))
        self.exponents.copy_(torch.tensor(low_pass.exponents, dtype=torch.float64))
        self.floor.fill_(low_pass.floor)
        self._derive()

    def whiten(self, noise: Tensor, weight: Tensor | float = 1.0) -> Tensor:
        """diag(lambda)^(-1/2) C E ``weight`` ``noise``, which is white where ``weight`` ``noise`` has the covariance R.

        Args:
            noise: (..., ``shape``).
            weight: ``shape``, or a number.

        Returns:
            Its coefficients, of the same shape.
        """
        weighted = noise * (self.edge.to(noise.dtype) * weight)
        return along_axes(weighted, self._transforms) * self.root_power.to(noise.dtype).reciprocal()

    def colour(self, white: Tensor) -> Tensor:
        """E^-1 C^T diag(lambda)^(1/2) ``white``, which has the covariance R where ``white`` is white.

        Args:
            white: (..., ``shape``).

        Returns:
            Noise, of the same shape.
        """
        back = [transform.T for transform in self._transforms]
        return along_axes(white * self.root_power.to(white.dtype), back) / self.edge.to(white.dtype)

    @property
    def _transforms(self) -> list[Tensor]:
        return [self.get_buffer(f"transform_{axis}") for axis in range(len(self.shape))]

    def _derive(self) -> None:
        power = self.low_pass.power(self.shape).to(self.root_power)
        self.root_power.copy_(power.sqrt())
        self.edge.copy_(along_axes(power, [transform.square().T for transform in self._transforms]).sqrt())
        self.half_log_det.copy_(self.root_power.log().sum() - self.edge.log().sum())


class ScaleMap(nn.Module):
    """A smooth map of the noise's scale: its logarithm is interpolated between learned points, and has the mean 0.

    Args:
        shape: Voxels along each axis.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        points = [min(size, max(2, math.ceil(size / _VOXELS_PER_POINT))) for size in shape]
        self.log_scales = nn.Parameter(torch.zeros(points))
        for axis, (size, count) in enumerate(zip(shape, points, strict=True)):
            self.register_buffer(f"hats_{axis}", interpolation(size, count), persistent=False)

    def log_scale(self) -> Tensor:
        """The logarithm of each voxel's scale over their geometric mean.

        Returns:
            ``shape``, with sum 0, of the parameters' dtype.
        """
        hats = [self.get_buffer(f"hats_{axis}") for axis in range(len(self.shape))]
        points = self.log_scales.double()
        mean = along_axes(points, [part.mean(0, keepdim=True) for part in hats])
        return along_axes((points - mean).to(self.log_scales.dtype), hats)
