"""One resampling from the original voxels into a grid of the reference frame, and how much of it the scan covers."""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.reading.geometry import corner_indices
from medlangevin.imaging.reading.slice_pixels import AIR_HU, whole_hu
from medlangevin.imaging.registration.reference import CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM

Array = NDArray[np.float64]

# A Gaussian of this many spacings passes about what a grid of that spacing can hold.
SIGMA_PER_SPACING = 0.425
# The cubic spline sees 2 voxels; its recursive prefilter forgets within 12.
MARGIN_VOXELS = 12
WIDE_MM = 36.0
WIDE_SPACING_MM = 0.4


class Grid(NamedTuple):
    """An isotropic grid along the axes of a frame.

    Attributes:
        origin_mm: LPS of voxel 0.
        size: Voxels along x, y, z.
        spacing_mm: Between voxels, the same along all axes.
    """

    origin_mm: tuple[float, ...]
    size: tuple[int, ...]
    spacing_mm: float

    @classmethod
    def spanning(cls, low: Array, high: Array, spacing_mm: float) -> "Grid":
        """Make the grid that begins at one point and reaches (at least) another.

        Args:
            low: (3,) mm, voxel 0.
            high: (3,) mm.
            spacing_mm: Between voxels.

        Returns:
            The grid.
        """
        size = np.ceil((high - low) / spacing_mm - 1e-6).astype(int) + 1
        return cls(tuple(low.tolist()), tuple(size.tolist()), spacing_mm)

    @property
    def corners_mm(self) -> Array:
        """(8, 3): the centres of the corner voxels."""
        return np.array(self.origin_mm) + self.spacing_mm * corner_indices(self.size)

    @property
    def centres_mm(self) -> Array:
        """(z, y, x, 3): the centre of each voxel, (x, y, z)."""
        axes = [self.origin_mm[axis] + self.spacing_mm * np.arange(self.size[axis]) for axis in (2, 1, 0)]
        z, y, x = np.meshgrid(*axes, indexing="ij")
        return np.stack([x, y, z], axis=-1)

    def image(self, values: NDArray[np.generic]) -> sitk.Image:
        """Make the image of values on the grid.

        Args:
            values: (z, y, x).

        Returns:
            The image.
        """
        image = sitk.GetImageFromArray(values)
        image.SetOrigin(self.origin_mm)
        image.SetSpacing([self.spacing_mm] * 3)
        return image


CROP_GRID = Grid(CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM)
# The surroundings of the crop, for pictures only: 36 mm at 0.4 mm.
WIDE_GRID = Grid.spanning(
    np.array(CROP_CENTRE_LPS) - WIDE_MM / 2, np.array(CROP_CENTRE_LPS) + WIDE_MM / 2, WIDE_SPACING_MM
)


def extract(scan: sitk.Image, matrix: Array) -> sitk.Image:
    """Resample the crop.

    Cubic B-spline; axes of the scan finer than the crop's are low-pass filtered first. Outside the scan: air.

    Args:
        scan: HU in LPS.
        matrix: (4, 4), reference frame to LPS of the scan (determinant -1 for a left ear, sheared scans allowed).

    Returns:
        The crop, int16 HU in the reference frame.
    """
    # A new image: nothing of the source's metadata can follow it to disk.
    return CROP_GRID.image(resample(scan, matrix, CROP_GRID)[0])


def resample(scan: sitk.Image, matrix: Array, grid: Grid) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Resample a scan as ``extract`` does, onto any grid: one resampling from the original voxels.

    Args:
        scan: HU in LPS.
        matrix: (4, 4), reference frame to LPS of the scan.
        grid: In the reference frame.

    Returns:
        HU (z, y, x), air outside the scan, and which of the voxels lie inside it.
    """
    region = _without_aliases(region_of_grid(scan, matrix, grid), grid.spacing_mm)
    values = sitk.GetArrayFromImage(on_grid(region, matrix, grid, interpolator=sitk.sitkBSpline))
    inside = inside_scan(scan, matrix, grid)
    return whole_hu(np.where(inside, values, AIR_HU)), inside


def inside_scan(scan: sitk.Image, matrix: Array, grid: Grid = CROP_GRID) -> NDArray[np.bool_]:
    """Tell which voxels of a grid lie inside a scan.

    Args:
        scan: Any image in LPS.
        matrix: (4, 4), reference frame to LPS of the scan.
        grid: In the reference frame.

    Returns:
        (z, y, x).
    """
    ones = sitk.Image(scan.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(scan)
    shown = on_grid(ones, matrix, grid, interpolator=sitk.sitkNearestNeighbor, outside=0)
    inside: NDArray[np.bool_] = sitk.GetArrayFromImage(shown) > 0.5
    return inside


def is_in_crop(scan: sitk.Image, matrix: Array, point: tuple[float, ...]) -> bool:
    """Tell whether the plane of a scan's slices through a point meets the crop.

    Args:
        scan: Any image in LPS.
        matrix: (4, 4), reference frame to LPS of the scan.
        point: LPS mm.

    Returns:
        Whether it does.
    """
    direction = np.reshape(scan.GetDirection(), (3, 3))
    normal = np.cross(direction[:, 0], direction[:, 1])
    corners = (CROP_GRID.corners_mm @ matrix[:3, :3].T + matrix[:3, 3]) @ normal
    return bool(corners.min() <= np.dot(point, normal) <= corners.max())


def region_of_grid(scan: sitk.Image, matrix: Array, grid: Grid) -> sitk.Image:
    """Cut out the original voxels that a grid can see: nothing after this need run over a whole head.

    Args:
        scan: Any image in LPS.
        matrix: (4, 4), reference frame to LPS of the scan.
        grid: In the reference frame.

    Returns:
        The part of the scan.
    """
    points = grid.corners_mm @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.array([scan.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in points])
    last = np.array(scan.GetSize()) - 1
    start = np.clip(np.floor(index.min(0)).astype(int) - MARGIN_VOXELS, 0, last)
    stop = np.clip(np.ceil(index.max(0)).astype(int) + MARGIN_VOXELS, 0, last)
    return sitk.RegionOfInterest(scan, (stop - start + 1).tolist(), start.tolist())


def on_grid(
    scan: sitk.Image, matrix: Array, grid: Grid, *, interpolator: int = sitk.sitkLinear, outside: float = AIR_HU
) -> sitk.Image:
    """Show a scan on a grid, without a filter before it.

    Args:
        scan: Any image in LPS.
        matrix: (4, 4), from the frame of the grid to LPS of the scan.
        grid: The grid.
        interpolator: SimpleITK's.
        outside: The value where the scan ends.

    Returns:
        float32.
    """
    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    like = (grid.origin_mm, [grid.spacing_mm] * 3, np.eye(3).ravel().tolist())
    return sitk.Resample(scan, grid.size, transform, interpolator, *like, outside, sitk.sitkFloat32)


def _without_aliases(region: sitk.Image, spacing_mm: float) -> sitk.Image:
    image = sitk.Cast(region, sitk.sitkFloat32)
    spacing = np.array(region.GetSpacing())
    variance = SIGMA_PER_SPACING**2 * np.clip(spacing_mm**2 - spacing**2, 0, None)
    # Less than a third of a voxel of blur changes nothing but the noise.
    variance[np.sqrt(variance) < spacing / 3] = 0
    if not variance.any():
        return image
    return sitk.DiscreteGaussian(image, variance.tolist(), 32, 0.01, True)
