"""One ear in the scanner: head pose, scan grid, blur, slice averaging and noise."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from medlangevin.phantom.fields import VoxelGrid
from medlangevin.phantom.frame import FloatArray, apply, rigid, rotation_matrix
from medlangevin.phantom.render import Anatomy, render

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
FIELD_OF_VIEW_MM = (30.0, 30.0, 25.0)
# Where the middle of the scan lies in the ear, so that cochlea and canals are in it.
SCAN_CENTRE = np.array([-2.0, 2.0, 1.5])
FINE_SPACING_MM = 0.2
# Blur that the fine grid itself gives: voxel shares and linear interpolation between them.
_GRID_BLUR_MM2 = FINE_SPACING_MM**2 * (1 / 12 + 1 / 6)
HU_RANGE = (-1024, 3071)


@dataclass(frozen=True)
class Geometry:
    """A scan's voxels in LPS mm: the centre of (i, j, k) is origin + direction @ (spacing * (i, j, k)).

    Attributes:
        origin: Centre of voxel (0, 0, 0), (3,).
        direction: (3, 3); its columns run along a row, down a column and across the slices.
        spacing: Distance of voxels along the columns of ``direction``, mm.
        size: Number of voxels along them.
    """

    origin: FloatArray
    direction: FloatArray
    spacing: tuple[float, float, float]
    size: tuple[int, int, int]

    @classmethod
    def centred(cls, centre: FloatArray, direction: FloatArray, spacing: tuple[float, float, float]) -> "Geometry":
        """Make the scan of the usual field of view about a point.

        Args:
            centre: The point (3,), LPS mm.
            direction: (3, 3), as the attribute.
            spacing: Distance of voxels, mm.

        Returns:
            The scan's voxels.
        """
        x, y, z = (round(extent / step) for extent, step in zip(FIELD_OF_VIEW_MM, spacing, strict=True))
        half = np.array([x - 1, y - 1, z - 1]) / 2 * np.array(spacing)
        # DICOM stores decimal strings: a position that has few digits is written exactly.
        return cls(np.round(centre - direction @ half, 4), direction, spacing, (x, y, z))

    def corners(self) -> FloatArray:
        """The outer corners of the scan.

        Returns:
            (8, 3), LPS mm.
        """
        ends = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in self.size], indexing="ij")).reshape(3, -1).T
        return self.origin + (ends * np.array(self.spacing)) @ self.direction.T


@dataclass(frozen=True)
class Acquisition:
    """The scanner.

    Attributes:
        psf_sigma_mm: Blur of the reconstruction, standard deviation in mm.
        noise_sd_hu: Noise in the slices, standard deviation in HU.
    """

    psf_sigma_mm: float
    noise_sd_hu: float


def ear_to_lps(side: str, rotation_deg: FloatArray, position: FloatArray) -> FloatArray:
    """The motion from an ear's own frame (a right ear) to the scanner; a left ear is mirrored first.

    Args:
        side: L or R.
        rotation_deg: Rotation vector (3,), degrees.
        position: Where the ear's origin goes (3,), LPS mm.

    Returns:
        4 x 4.
    """
    motion = rigid(rotation_matrix(rotation_deg), position)
    return motion @ MIRROR if side == "L" else motion


def _sample(hu: FloatArray, grid: VoxelGrid, to_lps: FloatArray, geometry: Geometry, slabs: int) -> FloatArray:
    # Linear interpolation onto the scan's rows and columns, with ``slabs`` planes in each slice.
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu.transpose(2, 1, 0)))
    image.SetOrigin(grid.origin)
    image.SetSpacing([grid.spacing] * 3)
    size, thin = geometry.size, geometry.spacing[2] / slabs
    target = sitk.Image(size[0], size[1], size[2] * slabs, sitk.sitkFloat32)
    target.SetSpacing((geometry.spacing[0], geometry.spacing[1], thin))
    target.SetDirection(geometry.direction.ravel().tolist())
    target.SetOrigin((geometry.origin - geometry.direction[:, 2] * thin * (slabs - 1) / 2).tolist())
    from_lps = np.linalg.inv(to_lps)
    transform = sitk.AffineTransform(from_lps[:3, :3].ravel().tolist(), from_lps[:3, 3].tolist())
    # The last argument: beyond the rendered grid the nearest voxel counts.
    return sitk.GetArrayFromImage(sitk.Resample(image, target, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True))


def acquire(
    anatomy: Anatomy, to_lps: FloatArray, geometry: Geometry, acquisition: Acquisition, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Scan an ear. Each slice is the mean over its thickness.

    Args:
        anatomy: The ear.
        to_lps: 4 x 4, from the ear's own frame to the scanner.
        geometry: The scan's voxels.
        acquisition: Blur and noise.
        rng: Source of the noise.

    Returns:
        HU (slices, rows, columns), int16.
    """
    corners = apply(np.linalg.inv(to_lps), geometry.corners())
    grid = VoxelGrid.around(corners.min(0) - 0.4, corners.max(0) + 0.4, FINE_SPACING_MM)
    slabs = max(2, round(geometry.spacing[2] / 0.125))
    hu = _sample(render(anatomy, grid), grid, to_lps, geometry, slabs)
    blur = np.sqrt(max(acquisition.psf_sigma_mm**2 - _GRID_BLUR_MM2, 0.0))
    thin = geometry.spacing[2] / slabs
    for axis, step in ((0, thin), (1, geometry.spacing[1]), (2, geometry.spacing[0])):
        hu = gaussian_filter1d(hu, blur / step, axis=axis, mode="nearest", truncate=3.0)
    slices = hu.reshape(geometry.size[2], slabs, geometry.size[1], geometry.size[0]).mean(1)
    # A sharp kernel leaves neighbouring pixels of a slice a little alike, and slices independent.
    white = gaussian_filter(rng.standard_normal(slices.shape, dtype=np.float32), (0, 0.45, 0.45))
    slices += white * np.float32(acquisition.noise_sd_hu / white.std())
    return np.clip(np.round(slices), *HU_RANGE).astype(np.int16)
