"""One resampling from the original voxels into a grid of the reference frame, and how much of it the scan covers."""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.reading.slice_pixels import AIR_HU
from medlangevin.imaging.registration.reference import CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM

# A Gaussian of this many spacings passes about what a grid of that spacing can hold.
SIGMA_PER_SPACING = 0.425
# The cubic spline sees 2 voxels; its recursive prefilter forgets within 12.
MARGIN_VOXELS = 12
WIDE_MM = 36.0
WIDE_SPACING_MM = 0.4


class Grid(NamedTuple):
    """An isotropic grid along the axes of the reference frame: LPS mm of voxel 0, voxels along x, y, z, spacing."""

    origin_mm: tuple[float, ...]
    size: tuple[int, ...]
    spacing_mm: float

    @property
    def corners_mm(self) -> NDArray[np.float64]:
        """(8, 3): the centres of the corner voxels."""
        low, span = np.array(self.origin_mm), self.spacing_mm * (np.array(self.size) - 1)
        return np.array([low + span * (i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])

    @property
    def centres_mm(self) -> NDArray[np.float64]:
        """(z, y, x, 3): the centre of each voxel, (x, y, z)."""
        axes = [self.origin_mm[axis] + self.spacing_mm * np.arange(self.size[axis]) for axis in (2, 1, 0)]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        return np.stack([x, y, z], axis=-1)


CROP_GRID = Grid(CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM)
WIDE_GRID = Grid(
    tuple(centre - WIDE_MM / 2 for centre in CROP_CENTRE_LPS),
    (round(WIDE_MM / WIDE_SPACING_MM) + 1,) * 3,
    WIDE_SPACING_MM,
)


class Crop(NamedTuple):
    """``image``: int16 HU in the reference frame; ``coverage``: part of its voxels that lie inside the scan."""

    image: sitk.Image
    coverage: float


def extract(scan: sitk.Image, matrix: NDArray[np.float64]) -> Crop:
    """Resample the crop from ``scan``.

    ``matrix``: (4, 4), reference frame to LPS of the scan (determinant -1 for a left ear, sheared scans allowed).
    Cubic B-spline; axes of the scan finer than the crop's are low-pass filtered first. Outside the scan: air.
    """
    hu, inside = resample(scan, matrix, CROP_GRID)
    # A new image: nothing of the source's metadata can follow it to disk.
    image = sitk.GetImageFromArray(hu)
    image.SetOrigin(CROP_ORIGIN_MM)
    image.SetSpacing([CROP_SPACING_MM] * 3)
    return Crop(image, float(inside.mean()))


def resample(scan: sitk.Image, matrix: NDArray[np.float64], grid: Grid) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """HU on a grid of the reference frame, (z, y, x), and which of its voxels lie inside the scan; air outside.

    As ``extract``, on any grid: one resampling from the original voxels.
    """
    region = _without_aliases(region_of_grid(scan, matrix, grid), grid.spacing_mm)
    values = sitk.GetArrayFromImage(on_grid(region, matrix, grid, sitk.sitkBSpline, AIR_HU))
    inside = inside_scan(scan, matrix, grid)
    hu = np.clip(np.rint(np.where(inside, values, AIR_HU)), AIR_HU, np.iinfo(np.int16).max)
    return hu.astype(np.int16), inside


def linear(scan: sitk.Image, matrix: NDArray[np.float64], grid: Grid) -> NDArray[np.float32]:
    """HU on a grid of the reference frame, (z, y, x), by linear interpolation: for looking only. Outside: air."""
    values: NDArray[np.float32] = sitk.GetArrayFromImage(on_grid(scan, matrix, grid, sitk.sitkLinear, AIR_HU))
    return values


def inside_scan(scan: sitk.Image, matrix: NDArray[np.float64], grid: Grid = CROP_GRID) -> NDArray[np.bool_]:
    """Which voxels of the grid, (z, y, x), lie inside the scan."""
    ones = sitk.Image(scan.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(scan)
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(on_grid(ones, matrix, grid, sitk.sitkNearestNeighbor, 0)) > 0.5
    return inside


def region_of_grid(scan: sitk.Image, matrix: NDArray[np.float64], grid: Grid) -> sitk.Image:
    """The original voxels that the grid can see: nothing after this need run over a whole head."""
    points = grid.corners_mm @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.array([scan.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in points])
    last = np.array(scan.GetSize()) - 1
    start = np.clip(np.floor(index.min(0)).astype(int) - MARGIN_VOXELS, 0, last)
    stop = np.clip(np.ceil(index.max(0)).astype(int) + MARGIN_VOXELS, 0, last)
    return sitk.RegionOfInterest(scan, (stop - start + 1).tolist(), start.tolist())


def wide_view(scan: sitk.Image, matrix: NDArray[np.float64]) -> sitk.Image:
    """The surroundings of the crop in the reference frame, 36 mm at 0.4 mm, for pictures only; float32 HU."""
    return on_grid(scan, matrix, WIDE_GRID, sitk.sitkLinear, AIR_HU)


def on_grid(scan: sitk.Image, matrix: NDArray[np.float64], grid: Grid, interpolator: int, outside: float) -> sitk.Image:
    """``scan`` on a grid of the frame that ``matrix`` (4, 4) comes from, float32; ``outside`` where it ends."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputSpacing([grid.spacing_mm] * 3)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(interpolator)
    resampler.SetDefaultPixelValue(outside)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return resampler.Execute(scan)


def _without_aliases(region: sitk.Image, spacing_mm: float) -> sitk.Image:
    image = sitk.Cast(region, sitk.sitkFloat32)
    spacing = np.array(region.GetSpacing())
    variance = SIGMA_PER_SPACING**2 * np.clip(spacing_mm**2 - spacing**2, 0, None)
    # Less than a third of a voxel of blur changes nothing but the noise.
    variance[np.sqrt(variance) < spacing / 3] = 0
    if not variance.any():
        return image
    return sitk.DiscreteGaussian(image, variance.tolist(), 32, 0.01, True)
