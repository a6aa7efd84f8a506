"""Correlation of scan and reference at a level, and the rigid registration that raises it (SimpleITK).

The last step of every registration, and a method of its own.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.imaging.registration.crop import Array
from medlangevin.imaging.registration.levels import OUTSIDE, FixedImage, Level, posed
from medlangevin.imaging.registration.reference import clipped


class Descent(NamedTuple):
    """Gradient descent.

    Attributes:
        iterations: Steps at most.
        step_mm: The first step.
        min_step_mm: It ends when steps are this small.
    """

    iterations: int
    step_mm: float
    min_step_mm: float


def align(fixed: FixedImage, scan: sitk.Image, pose: Array, level: Level, descent: Descent) -> tuple[Array, float]:
    """Improve a pose at a level.

    The scan is cut out as ``pose`` places it, so the search is about the identity.

    Args:
        fixed: The reference at the level.
        scan: HU in LPS.
        pose: (4, 4), reference frame to scan.
        level: What to look at.
        descent: How far to go.

    Returns:
        The better pose, and the squared correlation there; unchanged and -1 where too little overlaps.
    """
    centre = np.array(level.centre_mm)
    # What the level may still move, and the margin of smoothing.
    half = np.array(level.half_mm) + 3 * level.spacing_mm + 1.0
    patch = posed(scan, pose, centre, half, 0.75 * level.spacing_mm)
    moving = clipped(patch, level.sigma_mm)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(fixed.mask)
    reached = patch > OUTSIDE / 2
    if not sitk.GetArrayViewFromImage(reached).all():
        method.SetMetricMovingMask(reached)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        descent.step_mm, descent.min_step_mm, descent.iterations, gradientMagnitudeTolerance=1e-9
    )
    # One radian moves the edge of an 8 mm ball by 8 mm.
    method.SetOptimizerScales([64.0, 64.0, 64.0, 1.0, 1.0, 1.0])
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(fixed.image, moving)
    except RuntimeError:
        return pose, -1.0
    change = np.eye(4)
    change[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    change[:3, 3] = np.array(transform.GetTranslation()) + centre - change[:3, :3] @ centre
    return pose @ change, -float(method.GetMetricValue())


def correlation_at(fixed: FixedImage, scan: sitk.Image, pose: Array, level: Level) -> float:
    """Correlate scan and reference where a level looks.

    Args:
        fixed: The reference at the level.
        scan: HU in LPS; smoothed here as the reference is.
        pose: (4, 4), reference frame to scan.
        level: What to look at.

    Returns:
        The squared correlation, its sign kept; -1 where too little overlaps.
    """
    margin = np.ceil(3 * level.sigma_mm / level.spacing_mm) * level.spacing_mm
    patch = posed(scan, pose, level.centre_mm, np.array(level.half_mm) + margin, level.spacing_mm)
    reach = sitk.Resample(patch, fixed.image, sitk.Transform(), sitk.sitkNearestNeighbor, OUTSIDE)
    smooth = sitk.Resample(clipped(patch, level.sigma_mm), fixed.image, sitk.Transform(), sitk.sitkLinear, OUTSIDE)
    wanted = sitk.GetArrayViewFromImage(fixed.mask) > 0
    both = wanted & (sitk.GetArrayViewFromImage(reach) > OUTSIDE / 2)
    image, shown = (sitk.GetArrayViewFromImage(one) for one in (fixed.image, smooth))
    return squared_correlation(image, shown, both, wanted)


def squared_correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], both: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> float:
    """Correlate two images where both are seen (Pearson).

    Squared as in SimpleITK's metric, so that all correlations of a fit are on one scale: the share of variance.

    Args:
        first: Any shape.
        second: The same shape.
        both: Where both are seen.
        wanted: Where both should be.

    Returns:
        The square, its sign kept; -1 where less than half of ``wanted`` is seen, or an image is flat.
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
