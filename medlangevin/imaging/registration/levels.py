"""What one level of a registration looks at: a part of the reference's frame, and how finely.

The scan is always brought onto the level's grid in the frame of the reference, as a pose places it. A pose is a (4, 4)
matrix from the reference frame to LPS mm of the scan: a rigid motion, or for a left ear one after the mirror x -> -x.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.registration.crop import Grid, on_grid
from medlangevin.imaging.registration.localise import BALL_CENTRE_MM, BALL_RADIUS_MM, OUTSIDE, Array
from medlangevin.imaging.registration.reference import (
    LUMEN_WALL_HU,
    Reference,
    axis_aligned_grid,
    clipped,
)

AIR_EDGE_HU = -300.0
# The noise of a reference made from one scan must not look like lumens.
MASK_SIGMA_MM = 0.3


class Level(NamedTuple):
    """The reference's box (or the ``ball`` in it) on a grid of ``spacing_mm``, smoothed by ``sigma_mm``.

    ``wall_mm``: only what lies in a lumen or this near to one counts, and nothing this near to air.
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


class Fixed(NamedTuple):
    """The reference at a level, and where it counts (uint8, the same grid)."""

    image: sitk.Image
    mask: sitk.Image


def fixed(reference: Reference, level: Level) -> Fixed:
    """The reference at a level."""
    centre, half = np.array(level.centre_mm), np.array(level.half_mm)
    smooth = clipped(reference.image, level.sigma_mm)
    image = axis_aligned_grid(smooth, centre - half, centre + half, level.spacing_mm, outside=0)
    return Fixed(image, _mask(image, level, reference.image))


def posed(scan: sitk.Image, pose: Array, centre_mm: Array, half_mm: Array, spacing_mm: float) -> sitk.Image:
    """``scan`` on a grid of the reference frame about ``centre_mm``, linear, float32; OUTSIDE where it does not reach.

    The grid runs from ``centre_mm`` - ``half_mm`` to (at least) ``centre_mm`` + ``half_mm``, as that of ``fixed``.
    """
    size = np.ceil(2 * half_mm / spacing_mm - 1e-6).astype(int) + 1
    grid = Grid(tuple((centre_mm - half_mm).tolist()), tuple(size.tolist()), spacing_mm)
    return on_grid(scan, pose, grid, sitk.sitkLinear, OUTSIDE)


def correlation(fixed: Fixed, scan: sitk.Image, pose: Array, level: Level) -> float:
    """Squared correlation of scan and reference where the level looks; -1 where too little overlaps.

    ``scan``: HU; smoothed here as the reference is.
    """
    margin = np.ceil(3 * level.sigma_mm / level.spacing_mm) * level.spacing_mm
    half = np.array(level.half_mm) + margin
    patch = posed(scan, pose, np.array(level.centre_mm), half, level.spacing_mm)
    reach = sitk.Resample(patch, fixed.image, sitk.Transform(), sitk.sitkNearestNeighbor, OUTSIDE)
    smooth = sitk.Resample(clipped(patch, level.sigma_mm), fixed.image, sitk.Transform(), sitk.sitkLinear, OUTSIDE)
    wanted = sitk.GetArrayViewFromImage(fixed.mask) > 0
    both = wanted & (sitk.GetArrayViewFromImage(reach) > OUTSIDE / 2)
    return correlation_of(sitk.GetArrayViewFromImage(fixed.image), sitk.GetArrayViewFromImage(smooth), both, wanted)


def correlation_of(
    first: NDArray[np.float32], second: NDArray[np.float32], both: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> float:
    """Pearson's correlation over ``both``, squared with its sign kept; -1 where less than half of ``wanted``, or flat.

    Squared as in SimpleITK's metric, so that all correlations of a fit are on one scale: the share of variance.
    """
    if both.sum() < 0.5 * wanted.sum():
        return -1.0
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norm == 0:
        return -1.0
    value = float(a @ b) / norm
    return value * abs(value)


def offsets(image: sitk.Image, centre_mm: tuple[float, float, float]) -> Array:
    """(z, y, x, 3): from ``centre_mm`` to each voxel of an isotropic axis-aligned image, (x, y, z) in mm."""
    return Grid(image.GetOrigin(), image.GetSize(), image.GetSpacing()[0]).centres_mm - np.array(centre_mm)


def _mask(image: sitk.Image, level: Level, reference: sitk.Image) -> sitk.Image:
    inside: NDArray[np.bool_] = np.ones(image.GetSize()[::-1], dtype=bool)
    if level.ball:
        inside = np.linalg.norm(offsets(image, level.centre_mm), axis=-1) <= max(level.half_mm)
    if np.isfinite(level.wall_mm):
        smooth = sitk.SmoothingRecursiveGaussian(reference, [MASK_SIGMA_MM] * 3)
        hu = sitk.GetArrayFromImage(sitk.Resample(smooth, image))
        to_lumen = distance_transform_edt(hu > LUMEN_WALL_HU) * level.spacing_mm
        to_air = distance_transform_edt(hu > AIR_EDGE_HU) * level.spacing_mm
        inside &= (to_lumen < level.wall_mm) & (to_air > level.wall_mm)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    mask.CopyInformation(image)
    return mask
