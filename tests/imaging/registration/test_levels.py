"""What a level looks at, against what is put there."""

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.registration.correlation import correlation_at, squared_correlation
from medlangevin.imaging.registration.levels import COCHLEA, CROP, fixed_image, offsets, posed


def test_correlation_is_squared_with_its_sign_and_refuses_what_hardly_overlaps():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(9, 9, 9)).astype(np.float32)
    second = (0.6 * first + 0.8 * generator.normal(size=first.shape)).astype(np.float32)
    everywhere = np.ones(first.shape, dtype=bool)
    plain = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert np.isclose(squared_correlation(first, second, everywhere, everywhere), plain**2)
    assert np.isclose(squared_correlation(first, -second, everywhere, everywhere), -(plain**2))
    some = everywhere.copy()
    some[4:] = False
    assert squared_correlation(first, second, some, everywhere) == -1.0
    assert squared_correlation(first, np.ones_like(first), everywhere, everywhere) == -1.0


def test_the_reference_fits_itself_and_a_scan_elsewhere_does_not(reference):
    level = fixed_image(reference, CROP)
    assert correlation_at(level, reference.image, np.eye(4), CROP) > 0.99
    away = np.eye(4)
    away[:3, 3] = 60.0
    assert correlation_at(level, reference.image, away, CROP) == -1.0


def test_the_last_level_sees_the_capsule_of_the_cochlea_and_no_air(reference):
    level = fixed_image(reference, COCHLEA)
    mask = sitk.GetArrayFromImage(level.mask) > 0
    hu = sitk.GetArrayFromImage(sitk.Resample(reference.image, level.image))
    assert not (mask & (hu < -300)).any()
    # The lumen about the origin is in it; the corners of the box are too far from any duct or too near to air.
    near = np.linalg.norm(offsets(level.image, (0.0, 0.0, 0.0)), axis=-1) < 2.0
    assert mask[near].all()
    assert 0.2 < mask.mean() < 0.9


def test_a_posed_scan_shows_at_a_point_what_the_scan_holds_where_the_pose_puts_it():
    values = np.arange(20.0)[None, None, :] + 100 * np.arange(20.0)[:, None, None] + np.zeros((20, 20, 20))
    scan = sitk.GetImageFromArray(values.astype(np.float32))
    pose = np.diag([-1.0, 1.0, 1.0, 1.0])
    pose[:3, 3] = (12.0, 0.0, 1.0)
    image = posed(scan, pose, np.array([4.0, 9.0, 9.0]), np.array([2.0, 2.0, 2.0]), 1.0)
    # x 4 goes to 8, z 9 to 10.
    assert image[image.TransformPhysicalPointToIndex((4.0, 9.0, 9.0))] == 8 + 100 * 10
