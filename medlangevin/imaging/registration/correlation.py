"""Rigid registration by correlation (SimpleITK): the last step of every registration, and a method of its own."""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.registration.levels import OUTSIDE, Fixed, Level, posed
from medlangevin.imaging.registration.localise import Array
from medlangevin.imaging.registration.reference import clipped


class Descent(NamedTuple):
    """Gradient descent: at most ``iterations`` steps, the first of ``step_mm``, until they are ``min_step_mm``."""

    iterations: int
    step_mm: float
    min_step_mm: float


def align(fixed: Fixed, scan: sitk.Image, pose: Array, level: Level, descent: Descent) -> tuple[Array, float]:
    """``pose`` improved at a level, and the squared correlation there; unchanged and -1 where too little overlaps.

    ``scan``: HU. The scan is cut out as ``pose`` places it, so the search is about the identity.
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
