"""The image that is the mean of ears, and what is measured of it: fine detail and how much of it the scans cover."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from medlangevin.imaging.registration.crop import CROP_GRID, Grid
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, BALL_RADIUS_MM
from medlangevin.imaging.registration.reference import CLIP_HU
from medlangevin.system.errors import MedlangevinError

# Detail of the mean between these scales (standard deviations, mm): turns are 1 mm apart.
DETAIL_MM = (0.25, 1.0)
# What matching looks at lies within the ball and this margin.
MARGIN_MM = 1.5
MIN_COVERED = 0.98


def mean_image(total: NDArray[np.integer], count: NDArray[np.integer], grid: Grid) -> sitk.Image:
    """Divide sums of HU by numbers of ears.

    A voxel is the mean of the ears that cover it. Where none does it repeats its nearest neighbour, as an edge of air
    would be matched.

    Args:
        total: Sums of HU, (z, y, x).
        count: Numbers of ears, (z, y, x).
        grid: Where the voxels lie.

    Returns:
        A float32 image of whole HU.
    """
    mean = np.rint(total / np.maximum(count, 1))
    nearest = distance_transform_edt(count == 0, return_distances=False, return_indices=True)
    return grid.image(mean[tuple(nearest)].astype(np.float32))


def detail_hu(hu: NDArray[np.number], grid: Grid) -> float:
    """How much fine detail a crop has: cochlear turns, not the noise and not the air.

    Args:
        hu: HU (z, y, x) on ``grid``.
        grid: Where the voxels lie; it covers the crop.

    Returns:
        Standard deviation, over the crop, of what lies between two scales, HU.
    """
    clipped = np.clip(hu, *CLIP_HU).astype(np.float32)
    fine, coarse = (gaussian_filter(clipped, sigma / grid.spacing_mm) for sigma in DETAIL_MM)
    low = (np.array(CROP_GRID.origin_mm) - np.array(grid.origin_mm)) / grid.spacing_mm
    size = np.array(CROP_GRID.size) * CROP_GRID.spacing_mm / grid.spacing_mm
    box = tuple(slice(round(start), round(start + length)) for start, length in zip(low[::-1], size[::-1], strict=True))
    return float((fine - coarse)[box].std())


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a reference image.

    Args:
        image: An axis-aligned image in the reference frame.

    Returns:
        Its grid.

    Raises:
        MedlangevinError: The voxels are not cubes.
    """
    spacing = np.array(image.GetSpacing())
    if np.ptp(spacing) > 1e-3:
        raise MedlangevinError("the reference's voxels are not cubes; resample it to one spacing first")
    return Grid(image.GetOrigin(), image.GetSize(), float(spacing[0]))


def require_covered(count: NDArray[np.integer], grid: Grid) -> None:
    """Refuse a mean whose ears do not cover most of what the search looks at: a ball around the labyrinth.

    Args:
        count: Numbers of ears, (z, y, x).
        grid: Where the voxels lie.

    Raises:
        MedlangevinError: Too few voxels of the ball are inside at least one scan.
    """
    ball = np.linalg.norm(grid.centres_mm - np.array(BALL_CENTRE_MM), axis=-1) <= BALL_RADIUS_MM + MARGIN_MM
    covered = float((count[ball] > 0).mean())
    if covered < MIN_COVERED:
        raise MedlangevinError(
            f"the scans cover only {100 * covered:.0f} % of the surroundings of the ear; give scans that hold all of it"
        )
