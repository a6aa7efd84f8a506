"""Lumina of scans simulated from real inner-ear surfaces, cropped with their true poses."""

import numpy as np
import pytest
import SimpleITK as sitk

from medlangevin.shape.measure import measure
from medlangevin.system.files import read_json

pytestmark = pytest.mark.slow

SCANS = ("dev03", "dev07", "dev11", "dev15", "dev22", "dev24")  # 0.25 and 0.3 mm slices; small, large and odd ones


@pytest.fixture(scope="module")
def results(simulated_ears, read_series, affine, on_grid, pose_of):
    rows = []
    for name in SCANS:
        truth = read_json(simulated_ears / "truth" / f"{name}.json")
        ear = truth["ears"][0]
        scan = read_series(simulated_ears / truth["study_folder"])
        for interpolator in (sitk.sitkLinear, sitk.sitkBSpline):
            crop = on_grid(scan, pose_of(ear, "T_canonical_to_lps"), interpolator)
            rows.append((ear, measure(crop.round(), affine)))
    return rows


@pytest.mark.slow(seconds=15)
def test_volume_and_surface_agree_with_the_surfaces(results):
    volume = np.array([found.volume_mm3 / ear["cochlea_volume_mm3"] - 1 for ear, found in results])
    surface = np.array([found.surface_mm2 / ear["cochlea_surface_mm2"] - 1 for ear, found in results])
    print("volume", volume.round(3), "surface", surface.round(3))
    assert np.median(np.abs(volume)) < 0.03
    assert np.abs(volume).max() < 0.07
    assert np.median(np.abs(surface)) < 0.06
    assert np.abs(surface).max() < 0.10


def test_no_measure_but_turns_is_missing_and_all_are_those_of_a_cochlea(results):
    for _, found in results:
        assert 8.3 < found.a_mm < 10.7
        assert 5.8 < found.b_mm < 7.7
        assert 3.5 < found.height_mm < 5.3
        assert np.isnan(found.turns) or 2.1 < found.turns < 3.0
