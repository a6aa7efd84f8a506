"""What one level of a registration looks at: a part of the reference's frame, and how finely.

The scan is always brought onto the level's grid in the frame of the reference, as a pose places it. A pose is a (4, 4)
matrix from the reference frame to LPS mm of the scan: a rigid motion, or for a left ear one after the mirror x -> -x.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.registration.crop import Array, Grid, on_grid
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, BALL_RADIUS_MM, OUTSIDE
from medlangevin.imaging.registration.reference import LUMEN_WALL_HU, Reference, clipped

AIR_EDGE_HU = -300.0
# The noise of a reference made from one scan must not look like lumens.
MASK_SIGMA_MM = 0.3


class Level(NamedTuple):
    """The reference's box (or the ball in it) on a grid, smoothed.

    Attributes:
        centre_mm: Of the box, in the reference frame.
        half_mm: Half its sides.
        spacing_mm: Of the grid.
        sigma_mm: Standard deviation of the smoothing.
        ball: Whether only the ball in the box counts.
        wall_mm: Only what lies in a lumen or this near to one counts, and nothing this near to air.
    """

    centre_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    spacing_mm: float
    sigma_mm: float
    ball: bool
    wall_mm: float = np.inf


LABYRINTH_COARSE = Level(BALL_CENTRE_MM, (BALL_RADIUS_MM,) * 3, 1.0, 0.8, True)
LABYRINTH = Level(BALL_CENTRE_MM, (BALL_RADIUS_MM,) * 3, 0.6, 0.4, True)
# The duct and its capsule place it; bone further off and the middle ear differ between people and pull it away.
COCHLEA = Level(CROP_CENTRE_LPS, (6.25, 6.25, 5.75), 0.4, 0.1, False, 2.0)
# For judging only: all that the crop shows.
CROP = Level(CROP_CENTRE_LPS, (6.25, 6.25, 5.75), 0.4, 0.25, False)


class FixedImage(NamedTuple):
    """The reference at a level.

    Attributes:
        image: float32 HU.
        mask: Where it counts, uint8 on the same grid.
    """

    image: sitk.Image
    mask: sitk.Image


def fixed_image(reference: Reference, level: Level) -> FixedImage:
    """Show the reference at a level.

    Args:
        reference: The reference ear.
        level: What to look at.

    Returns:
        The image and its mask.
    """
    smooth = clipped(reference.image, level.sigma_mm)
    centre, half = np.array(level.centre_mm), np.array(level.half_mm)
    image = on_grid(smooth, np.eye(4), Grid.spanning(centre - half, centre + half, level.spacing_mm), outside=0)
    inside: NDArray[np.bool_] = np.ones(image.GetSize()[::-1], dtype=bool)
    if level.ball:
        inside = np.linalg.norm(offsets(image, level.centre_mm), axis=-1) <= max(level.half_mm)
    if np.isfinite(level.wall_mm):
        walls = sitk.SmoothingRecursiveGaussian(reference.image, [MASK_SIGMA_MM] * 3)
        hu = sitk.GetArrayFromImage(sitk.Resample(walls, image))
        to_lumen = distance_transform_edt(hu > LUMEN_WALL_HU) * level.spacing_mm
        to_air = distance_transform_edt(hu > AIR_EDGE_HU) * level.spacing_mm
        inside &= (to_lumen < level.wall_mm) & (to_air > level.wall_mm)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return FixedImage(image, mask)


def posed(scan: sitk.Image, pose: Array, centre_mm: ArrayLike, half_mm: ArrayLike, spacing_mm: float) -> sitk.Image:
    """Show a scan on a grid of the reference frame, by linear interpolation.

    Args:
        scan: HU in LPS.
        pose: (4, 4), reference frame to scan.
        centre_mm: The middle of the grid.
        half_mm: The grid runs from ``centre_mm`` - ``half_mm`` to (at least) ``centre_mm`` + ``half_mm``.
        spacing_mm: Of the grid.

    Returns:
        float32; OUTSIDE where the scan does not reach.
    """
    centre, half = np.array(centre_mm), np.array(half_mm)
    return on_grid(scan, pose, Grid.spanning(centre - half, centre + half, spacing_mm), outside=OUTSIDE)


def offsets(image: sitk.Image, centre_mm: tuple[float, float, float]) -> Array:
    """Measure from a point to each voxel of an isotropic axis-aligned image.

    Args:
        image: Any.
        centre_mm: (x, y, z).

    Returns:
        (z, y, x, 3): offsets (x, y, z) in mm.
    """
    return Grid(image.GetOrigin(), image.GetSize(), image.GetSpacing()[0]).centres_mm - np.array(centre_mm)
