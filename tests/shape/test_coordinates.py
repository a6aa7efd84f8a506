import numpy as np
import pytest

from medlangevin.cochlear_frame import OVAL_WINDOW_LPS
from medlangevin.shape import coordinates


def test_modiolar_coordinates_are_a_right_handed_rotation():
    basis = coordinates.from_modiolar(np.eye(3)) - coordinates.from_modiolar(np.zeros(3))
    assert basis @ basis.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(basis) == pytest.approx(1.0)
    points = np.random.default_rng(0).standard_normal((5, 3))
    assert coordinates.from_modiolar(coordinates.to_modiolar(points)) == pytest.approx(points)


def test_landmarks_lie_where_anatomy_has_them():
    window, apex = coordinates.to_modiolar(OVAL_WINDOW_LPS), coordinates.to_modiolar(np.array([-0.9, -2.3, 0.1]))
    assert window[0] > 5
    assert window[1] == pytest.approx(0, abs=1e-9)
    assert apex[2] == pytest.approx(2.8, abs=0.2)
    assert coordinates.vestibule_cut_distance(window) < 0 < coordinates.vestibule_cut_distance(apex)
    assert coordinates.canal_distance(np.array([0.0, 0.0, -2.0])) < 0 < coordinates.canal_distance(apex)


def test_voxels_and_lps_are_inverse_of_each_other_on_an_oblique_affine():
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0] * [0.2, 0.3, 0.4]
    affine[:3, 3] = [1, -2, 3]
    index = np.array([[0.0, 0, 0], [3, 4.5, 6]])
    assert coordinates.lps_to_voxels(coordinates.voxels_to_lps(index, affine), affine) == pytest.approx(index)
    assert coordinates.voxels_to_lps(np.zeros(3), affine) == pytest.approx([-1, 2, 3])
