"""The search's correlation: a correlation also at the scan's edges, whatever lies there."""

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.imaging.registration.localise import ABOUT_MM, BALL_CENTRE_MM, SEARCH_SIGMA_MM, prepare, search
from medlangevin.imaging.registration.reference import clipped


@pytest.fixture(scope="module")
def templates(reference):
    return prepare(reference)


def test_no_score_exceeds_one_beside_a_bright_edge(reference, templates):
    thick = int(14 / reference.image.GetSpacing()[2])
    bright = sitk.ConstantPad(reference.image, [0, 0, 0], [0, 0, thick], 3000.0)
    found = search(clipped(bright, SEARCH_SIGMA_MM), templates)
    assert max(item.score for item in found) <= 1.0
    best = found[0]
    assert not best.mirrored
    # Coarse grid and lattice; the identity is among the rotations tried.
    np.testing.assert_allclose(best.pose[:3, 3], 0, atol=1.5)


def test_asked_about_a_point_it_looks_nowhere_else_on_either_side(reference, templates):
    smooth = clipped(reference.image, SEARCH_SIGMA_MM)
    point = np.array(BALL_CENTRE_MM) + np.array([0.0, 0.0, 4.0])
    found = search(smooth, templates, about=point)
    assert {item.mirrored for item in found} == {False, True}
    centres = np.array([item.pose[:3, :3] @ BALL_CENTRE_MM + item.pose[:3, 3] for item in found])
    assert np.linalg.norm(centres - point, axis=1).max() <= ABOUT_MM + 1e-6
    assert found[0].score == search(smooth, templates)[0].score
    far = search(smooth, templates, about=point + 1000.0)
    assert far == []
