"""Grey levels of a crop: fluid, bone, the half height between them; and a mild deconvolution that opens thin walls."""

from typing import NamedTuple

import numpy as np
from skimage.filters import threshold_otsu

from medlangevin.shape.coordinates import Array
from medlangevin.system.errors import MedlangevinError

_RING_MM3 = 0.67 * 2.0 * np.pi * (4.8**2 - 1.8**2)  # what the ring of estimate_levels holds in full


class Levels(NamedTuple):
    """Grey levels in the volume's own units (HU in CT).

    Attributes:
        fluid: Level of the fluid in the lumen.
        bone: Level of the bone around it.
    """

    fluid: float
    bone: float

    @property
    def half(self) -> float:
        """The half height, the mean of both, where a straight blurred edge between fluid and bone lies."""
        return 0.5 * (self.fluid + self.bone)

    @property
    def air_bound(self) -> float:
        """Below this it is air: about half way from fluid to air on the CT scale, where bone is 2100 HU over fluid."""
        return self.fluid - 0.235 * (self.bone - self.fluid)


class NoLumenError(MedlangevinError):
    """The volume holds no cochlear lumen that can be segmented."""


def estimate_levels(values: Array, uvh: Array, *, voxel_mm3: float) -> Levels:
    """Fluid and bone level of a crop.

    Both are quantiles of the two Otsu classes in the ring of the basal turn, on the side away from the middle ear,
    where there is fluid and bone alone: towards the darkest of the fluid and the densest of the bone, as partial volume
    fills the space between.

    Args:
        values: Grey values (i, j, k).
        uvh: Modiolar coordinates (i, j, k, 3) in mm.
        voxel_mm3: Volume of a voxel.

    Returns:
        The two levels.

    Raises:
        NoLumenError: The ring is not covered, has no contrast or holds NaN or infinity.
    """
    radius = np.hypot(uvh[..., 0], uvh[..., 1])
    ring = (np.abs(uvh[..., 2]) < 1.0) & (radius > 1.8) & (radius < 4.8) & (uvh[..., 0] < 1.5)
    inside = values[ring]
    if inside.size * abs(voxel_mm3) < 0.8 * _RING_MM3:
        raise NoLumenError("the volume does not cover the cochlea's place in the reference frame")
    if not np.isfinite(inside).all():
        raise NoLumenError("the volume holds values that are not numbers")
    if np.ptp(inside) == 0:
        raise NoLumenError("the volume has no contrast where the cochlea should be")
    threshold = float(threshold_otsu(inside))
    fluid = float(np.quantile(inside[inside <= threshold], 0.2))
    bone = float(np.quantile(inside[inside > threshold], 0.65))
    return Levels(fluid=fluid, bone=bone)


def deconvolve(values: Array, spacing_mm: Array, *, psf_sigma_mm: float, smoothness: float = 3e-4) -> Array:
    """Regularised inverse of a Gaussian blur: minimises |G x - values|^2 + smoothness |grad x|^2 (x in mm).

    Opens the thin walls between turns that scanner and interpolation have closed; changes a smooth volume little.

    Args:
        values: Grey values (i, j, k).
        spacing_mm: Size of a voxel (3,).
        psf_sigma_mm: Standard deviation of the blur.
        smoothness: Weight of the gradient, mm^2.

    Returns:
        The sharper volume (i, j, k), solved exactly by the Fourier transform on a mirrored margin (Tikhonov and Arsenin
        1977).
    """
    margin = 8
    padded = np.pad(values, margin, mode="reflect")
    frequency = [np.fft.fftfreq(size, step) for size, step in zip(padded.shape, spacing_mm, strict=True)]
    frequency[2] = np.fft.rfftfreq(padded.shape[2], spacing_mm[2])
    wave2 = sum((2 * np.pi * axis) ** 2 for axis in np.meshgrid(*frequency, indexing="ij", sparse=True))
    blur = np.exp(-0.5 * psf_sigma_mm**2 * wave2)
    spectrum = np.fft.rfftn(padded) * blur / (blur**2 + smoothness * wave2)
    inner = tuple(slice(margin, margin + size) for size in values.shape)
    return np.asarray(np.fft.irfftn(spectrum, s=padded.shape, axes=(0, 1, 2))[inner])
