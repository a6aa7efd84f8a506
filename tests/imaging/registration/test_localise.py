"""The search's correlation: a correlation also at the scan's edges, whatever lies there."""

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.imaging.registration.localise import SEARCH_SIGMA_MM, prepare, search
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
