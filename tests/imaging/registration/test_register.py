from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from medlangevin.imaging.registration.crop import extract, inside_scan
from medlangevin.imaging.registration.localise import pose_matrix, rotations
from medlangevin.imaging.registration.reference import CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM
from medlangevin.imaging.registration.register import Fit, Matcher, distance_mm, distinct_ears, mirror_rival

COCHLEA = np.array([[x, y, z] for x in (-4, 3) for y in (-3, 4) for z in (-3, 4)], dtype=float)


def motion(angle_deg, axis, translation, *, left=False):
    matrix = np.eye(4)
    axis = np.array(axis) / np.linalg.norm(axis)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(angle_deg) * axis).as_matrix() @ np.diag([-1 if left else 1, 1, 1])
    matrix[:3, 3] = translation
    return matrix


def shift(points, matrix):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.fixture(scope="module")
def matcher(reference):
    return Matcher(reference)


@pytest.fixture(scope="module")
def correlator(reference):
    return Matcher(reference, method="correlation")


@pytest.mark.slow
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("angle_deg", [12.0, 38.0])
def test_a_known_rigid_motion_and_side_are_recovered(matcher, warped_reference, left, angle_deg):
    truth = motion(angle_deg, (1, -2, 1.5), (31.0, -220.0, 512.0), left=left)
    best = distinct_ears(matcher.fits(warped_reference(truth)))
    assert [fit.mirrored for fit in best] == [left]
    error = np.linalg.norm(shift(COCHLEA, best[0].matrix) - shift(COCHLEA, truth), axis=1)
    assert error.max() < 0.1
    assert best[0].ncc > 0.9
    # Both starts end at the one ear there is, and nothing else in the scan looks like it.
    assert best[0].agreement_mm < 0.1
    assert best[0].runner_up_ncc < 0.5
    assert 0 < best[0].residual_mm < 0.8


@pytest.mark.slow
def test_from_the_wrong_side_the_right_one_is_found_at_the_same_place(matcher, warped_reference):
    truth = motion(10.0, (1, -2, 1.5), (31.0, -220.0, 512.0))
    scan = warped_reference(truth)
    right, wrong = matcher.fits(scan)
    assert wrong.mirrored
    assert np.isclose(matcher.mirrored_ncc(scan, wrong), right.ncc, atol=0.01)
    assert matcher.mirrored_ncc(scan, right) < right.ncc - 0.2


@pytest.mark.slow
def test_both_methods_end_at_one_place(matcher, correlator, warped_reference):
    scan = warped_reference(motion(25.0, (2, 1, -1), (31.0, -220.0, 512.0)))
    block, correlation = matcher.fits(scan)[0], correlator.fits(scan)[0]
    assert distance_mm(block.matrix, correlation.matrix) < 0.05
    assert np.isclose(block.ncc, correlation.ncc, atol=0.01)
    assert correlation.agreement_mm < 0.1
    assert np.isnan(correlation.residual_mm)


def test_distance_of_two_poses_is_the_most_that_a_corner_of_the_lumen_box_moves():
    assert np.isclose(distance_mm(np.eye(4), motion(0.0, (0, 0, 1), (0.3, 0.0, 0.4))), 0.5)
    # Half a turn about z moves a corner to the opposite one of its plane.
    assert np.isclose(distance_mm(np.eye(4), motion(180.0, (0, 0, 1), (0.0, 0.0, 0.0))), 2 * np.hypot(4.5, 3.5))


@pytest.mark.slow
def test_the_ear_is_found_off_centre(matcher, warped_reference):
    truth = motion(10.0, (0, 0, 1), (0.0, 0.0, 0.0))
    scan = warped_reference(truth)
    # Cut 7 mm away on one side: the ear now lies 3.5 mm off the centre of what is left.
    scan = scan[24:, :, :]
    (fit,) = distinct_ears(matcher.fits(scan))
    assert np.linalg.norm(shift(COCHLEA, fit.matrix) - shift(COCHLEA, truth), axis=1).max() < 0.1


@pytest.mark.slow
def test_a_sheared_stack_is_registered_as_its_straight_original(matcher, warped_reference):
    truth = motion(8.0, (1, 0, 1), (5.0, 6.0, 7.0))
    scan = warped_reference(truth)
    tilt = np.radians(15.0)
    sheared = sitk.ResampleImageFilter()
    grid = sitk.Image(scan.GetSize(), sitk.sitkInt16)
    grid.SetSpacing((0.3, 0.3, 0.3))
    # Rows and columns tilted about x, steps still along z: a gantry tilt.
    direction = np.array([[1, 0, 0], [0, np.cos(tilt), 0], [0, np.sin(tilt), 1]])
    grid.SetDirection(direction.ravel().tolist())
    centre = direction @ (0.3 * (np.array(scan.GetSize()) - 1) / 2)
    grid.SetOrigin((truth[:3, 3] - centre).tolist())
    sheared.SetReferenceImage(grid)
    sheared.SetDefaultPixelValue(1400)
    fit = matcher.fits(sheared.Execute(scan))[0]
    assert np.linalg.norm(shift(COCHLEA, fit.matrix) - shift(COCHLEA, truth), axis=1).max() < 0.1


def test_noise_alone_fits_nothing(matcher):
    scan = sitk.GetImageFromArray(np.random.default_rng(0).normal(1300, 200, (60, 60, 60)).astype(np.float32))
    scan.SetSpacing([0.4] * 3)
    for fit in matcher.fits(scan):
        assert fit.ncc < 0.5
        assert fit.agreement_mm > 1.0


def test_a_volume_smaller_than_the_template_gives_no_fit(matcher):
    assert matcher.fits(sitk.Image([20, 20, 20], sitk.sitkInt16)) == []


def test_rotations_cover_forty_degrees_without_large_gaps():
    tried = Rotation.from_matrix(rotations())
    assert np.allclose(tried.as_matrix()[0], np.eye(3))
    wanted = Rotation.from_rotvec(
        np.random.default_rng(0).uniform(-1, 1, (2000, 3)) * 23, degrees=True
    )  # up to 40 degrees
    nearest = np.array([np.degrees((tried.inv() * turn).magnitude()).min() for turn in wanted])
    assert nearest.max() < 21.0


def test_ears_of_both_sides_are_kept_and_a_mirror_image_of_one_is_not():
    def fit(ncc, mirrored, x):
        # Given in the mirrored scan, where x changes its sign.
        return Fit(ncc, ncc, mirrored, pose_matrix(np.eye(3), np.array([-x if mirrored else x, 0.0, 0.0]), mirrored))

    right, left, ghost = fit(0.8, False, -40.0), fit(0.7, True, 40.0), fit(0.6, True, -38.0)
    assert distinct_ears([left, right]) == [right, left]
    assert distinct_ears([ghost, right]) == [right]
    assert mirror_rival(right, [right, ghost]) == 0.6
    assert mirror_rival(right, [right, left]) == -1.0


def linear_scan(spacing, gradient=(30.0, -20.0, 10.0)):
    """HU linear in LPS: every interpolation that is right reproduces it exactly away from the border."""
    size = np.ceil(np.array([24.0, 22.0, 20.0]) / spacing).astype(int)
    x, y, z = np.meshgrid(*[(np.arange(n) - n / 2) * s for n, s in zip(size, spacing, strict=True)], indexing="ij")
    hu = np.rint(500 + gradient[0] * x + gradient[1] * y + gradient[2] * z).astype(np.int16)
    scan = sitk.GetImageFromArray(hu.transpose(2, 1, 0).copy())
    scan.SetSpacing(list(spacing))
    scan.SetOrigin([-n / 2 * s for n, s in zip(size.tolist(), spacing, strict=True)])
    return scan


@pytest.mark.parametrize("spacing", [(0.3, 0.3, 0.4), (0.1, 0.1, 0.2)])
@pytest.mark.parametrize("left", [False, True])
def test_crop_holds_the_values_of_the_points_it_names(spacing, left):
    matrix = motion(17.0, (1, 2, 3), (1.0, 0.5, -0.3), left=left)
    crop = extract(linear_scan(spacing), matrix)
    assert crop.GetSize() == CROP_SIZE
    assert crop.GetPixelID() == sitk.sitkInt16
    index = np.stack(np.meshgrid(*[np.arange(n) for n in CROP_SIZE], indexing="ij"), axis=-1).reshape(-1, 3)
    points = shift(np.array(CROP_ORIGIN_MM) + CROP_SPACING_MM * index, matrix)
    expected = 500 + points @ (30.0, -20.0, 10.0)
    found = sitk.GetArrayFromImage(crop).transpose(2, 1, 0).reshape(-1)
    # The scan's own rounding (0.5), the spline's overshoot of it, and the crop's rounding (0.5).
    assert np.abs(found - expected).max() < 2.0


def test_crop_beyond_the_scan_is_air():
    matrix = motion(0.0, (0, 0, 1), (12.0, 0.0, 0.0))
    scan = linear_scan((0.3, 0.3, 0.4))
    inside = inside_scan(scan, matrix)
    assert 0.4 < inside.mean() < 0.6
    assert np.array_equal(sitk.GetArrayFromImage(extract(scan, matrix)) == -1024, ~inside)


def test_fine_scans_are_low_pass_filtered_first():
    size = 160
    checker = np.indices((size, size, size)).sum(0) % 2 * 1000
    scan = sitk.GetImageFromArray(checker.astype(np.int16))
    scan.SetSpacing([0.1] * 3)
    scan.SetOrigin([-8.0] * 3)
    spread = [
        sitk.GetArrayFromImage(extract(scan, motion(0, (0, 0, 1), (step, step, 0.0))))[5:-5, 5:-5, 5:-5].std()
        for step in (0.0, 0.025)
    ]
    assert max(spread) < 100
    assert all(abs(a - b) < 100 for a, b in pairwise(spread))
