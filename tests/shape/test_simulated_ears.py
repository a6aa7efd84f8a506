"""Lumina of scans simulated from real inner-ear surfaces, cropped with their true poses."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from medlangevin.io import read_json
from medlangevin.shape.measure import measure

SCANS = ("dev03", "dev07", "dev11", "dev15", "dev22", "dev24")  # 0.25 and 0.3 mm slices; small, large and odd ones


def _scan(folder: Path) -> sitk.Image:
    """The one series in a folder, slices in order of position."""

    def position(file: Path) -> float:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        row, column = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        return float(np.cross(row, column) @ np.array(header.ImagePositionPatient, dtype=float))

    files = sorted(folder.iterdir(), key=position)
    return sitk.Cast(sitk.ReadImage([str(file) for file in files]), sitk.sitkFloat32)


def _crop(scan: sitk.Image, matrix: np.ndarray, interpolator: int) -> np.ndarray:
    """60 x 50 x 50 voxels at 0.2 mm; ``matrix`` (4, 4) maps the reference frame to the scan."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    grid = sitk.Image(60, 50, 50, sitk.sitkFloat32)
    grid.SetSpacing([0.2] * 3)
    grid.SetOrigin([-0.4 - 5.9, 0.45 - 4.9, 0.4 - 4.9])
    return sitk.GetArrayFromImage(sitk.Resample(scan, grid, transform, interpolator, -1000.0)).transpose(2, 1, 0)


@pytest.fixture(scope="module")
def results(shared_data, affine):
    folder = shared_data / "data" / "ct" / "simulated_ears"
    if not folder.is_dir():
        pytest.skip(f"no simulated ears: {folder} is absent")
    rows = []
    for name in SCANS:
        truth = read_json(folder / "truth" / f"{name}.json")
        ear = truth["ears"][0]
        matrix = np.array(ear["T_canonical_to_lps"])
        if ear["side"] == "L":
            matrix = matrix @ np.diag([-1.0, 1.0, 1.0, 1.0])
        scan = _scan(folder / truth["study_folder"])
        for interpolator in (sitk.sitkLinear, sitk.sitkBSpline):
            rows.append((ear, measure(_crop(scan, matrix, interpolator).round(), affine)))
    return rows


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
