"""A pose improved by block matching, from starts as far off as the search leaves them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medlangevin.imaging.registration.block_registration import LEVELS, prepare_blocks, refine
from medlangevin.imaging.registration.localise import SEARCH_SIGMA_MM
from medlangevin.imaging.registration.reference import clipped
from medlangevin.imaging.registration.register import distance_mm


def rigid(angle_deg, axis, translation):
    matrix = np.eye(4)
    unit = np.array(axis) / np.linalg.norm(axis)
    matrix[:3, :3] = Rotation.from_rotvec(angle_deg * unit, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


@pytest.fixture(scope="module")
def steps(reference):
    return [prepare_blocks(reference, step) for step in LEVELS]


# A right ear, and a left one cut off 7 mm from its middle.
@pytest.mark.parametrize(("left", "cut"), [(False, 0), (True, 18)])
def test_a_start_twenty_degrees_and_two_millimetres_off_is_followed(steps, warped_reference, left, cut):
    truth = rigid(10.0, (1, 0, 2), (5.0, 6.0, 7.0)) @ np.diag([-1.0 if left else 1.0, 1.0, 1.0, 1.0])
    smooth = clipped(warped_reference(truth)[cut:, :, :], SEARCH_SIGMA_MM)
    pose = truth @ rigid(20.0, (2, -1, 1), (1.0, -1.0, 1.5))
    errors = [distance_mm(pose, truth)]
    for prepared in steps:
        pose, ncc, residual_mm = refine(prepared, smooth, pose)
        errors.append(distance_mm(pose, truth))
        assert 0 < residual_mm < 0.8
    # Each level brings it nearer; the last to a third of its voxels.
    assert errors[0] > 3.0 > 1.2 > errors[1] > errors[2]
    assert errors[2] < 0.25
    assert ncc > 0.9


def test_a_place_outside_the_scan_is_left_alone(steps, warped_reference):
    smooth = clipped(warped_reference(np.eye(4)), SEARCH_SIGMA_MM)
    start = rigid(0.0, (0, 0, 1), (80.0, 0.0, 0.0))
    pose, ncc, residual_mm = refine(steps[0], smooth, start)
    assert np.array_equal(pose, start)
    assert ncc == -1.0
    assert np.isnan(residual_mm)
