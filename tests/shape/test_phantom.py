"""Scans of the digital phantom, cropped with their true poses, against the phantom's truth."""

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.phantom.ear import draw_ear, truth
from medlangevin.phantom.scan import acquire
from medlangevin.shape.measure import measure

EARS = (0, 4, 10)  # of cohort 11: a left and two right ears with slices of 0.25 and 0.3 mm


@pytest.fixture(scope="module")
def results(affine, on_grid, pose_of):
    rows = []
    for index in EARS:
        ear = draw_ear(11, index)
        scan = sitk.GetImageFromArray(
            acquire(
                ear.anatomy, ear.to_lps, ear.geometry, ear.acquisition, np.random.default_rng([11, index, 1])
            ).astype(np.float32)
        )
        scan.SetOrigin(ear.geometry.origin.tolist())
        scan.SetSpacing(ear.geometry.spacing)
        scan.SetDirection(ear.geometry.direction.ravel().tolist())
        answers = truth(ear)["ears"][0]
        rows.append((answers, measure(on_grid(scan, pose_of(answers, "T_reference_to_lps")).round(), affine)))
    return rows


@pytest.mark.parametrize(
    ("key", "name", "tolerance"),
    [
        ("a_value_mm", "a_mm", 0.3),
        ("b_value_mm", "b_mm", 0.15),
        ("height_mm", "height_mm", 0.3),
        ("turns", "turns", 0.2),
        ("lateral_wall_mm", "lateral_wall_mm", 1.2),
    ],
)
def test_each_measure_is_close_to_the_truth(results, key, name, tolerance):
    for answers, found in results:
        assert getattr(found, name) == pytest.approx(answers[key], abs=tolerance)


def test_volume_and_surface_are_close_to_the_truth(results):
    for answers, found in results:
        assert found.volume_mm3 == pytest.approx(answers["cochlea_volume_mm3"], rel=0.06)
        assert found.surface_mm2 == pytest.approx(answers["cochlea_surface_mm2"], rel=0.08)
