"""The reference image in the package, and its likeness to real ears."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from medlangevin.phantom.fields import VoxelGrid, add_duct
from medlangevin.phantom.reference import SPACING_MM, reference_volume, write_reference
from medlangevin.phantom.scan import MIRROR
from medlangevin.phantom.shape import MEAN_SHAPE
from medlangevin.system.files import read_json

PACKAGED = Path(str(files("medlangevin.imaging.registration") / "data" / "reference.nii.gz"))


def test_packaged_reference_is_what_the_script_makes(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference.nii.gz")
    made, packaged = nibabel.load(tmp_path / "reference.nii.gz"), nibabel.load(PACKAGED)
    assert packaged.get_data_dtype() == np.int16
    np.testing.assert_array_equal(made.affine, packaged.affine)
    # Other processors may round differently, by a unit here and there.
    difference = np.abs(np.asarray(made.dataobj).astype(int) - np.asarray(packaged.dataobj))
    assert difference.max() <= 2
    assert PACKAGED.stat().st_size < 2e6


def test_reference_covers_the_region_about_the_cochlea() -> None:
    hu, matrix = reference_volume()
    low, high = matrix[:3, 3], matrix[:3, 3] + SPACING_MM * (np.array(hu.shape) - 1)
    assert (high - low >= [33, 33, 27]).all()
    assert (low < -12).all()
    assert (high > 12).all()
    assert hu.dtype == np.int16
    assert hu.min() >= -1000


def test_reference_has_fluid_in_the_duct_and_bone_about_it() -> None:
    hu, matrix = reference_volume()
    points = MEAN_SHAPE.duct().centre_line()[5:250]
    i, j, k = np.round((points - matrix[:3, 3]) / SPACING_MM).astype(int).T
    assert np.median(hu[i, j, k]) < 200
    grid = VoxelGrid(tuple(matrix[:3, 3]), SPACING_MM, hu.shape)
    field = grid.field()
    add_duct(field, grid, MEAN_SHAPE.duct())
    assert np.median(hu[(field > 0.4) & (field < 0.7)]) > 1500


@pytest.mark.parametrize("scan", ["dev01", "dev02", "dev08"])
def test_reference_is_like_a_real_ear(
    simulated_ears: Path, read_series: Callable[[Path], sitk.Image], scan: str
) -> None:
    known = read_json(simulated_ears / "truth" / f"{scan}.json")
    image = read_series(simulated_ears / known["study_folder"])
    ear = known["ears"][0]
    to_lps = np.array(ear["T_canonical_to_lps"]) @ (MIRROR if ear["side"] == "L" else np.eye(4))
    hu, matrix = reference_volume()
    grid = VoxelGrid(tuple(matrix[:3, 3]), SPACING_MM, hu.shape)
    field = grid.field()
    add_duct(field, grid, MEAN_SHAPE.duct())
    near = distance_transform_edt(field > 0, sampling=SPACING_MM) < 3
    target = sitk.GetImageFromArray(hu.transpose(2, 1, 0))
    target.SetOrigin(matrix[:3, 3].tolist())
    target.SetSpacing([SPACING_MM] * 3)
    transform = sitk.AffineTransform(to_lps[:3, :3].ravel().tolist(), to_lps[:3, 3].tolist())
    outside = -3000.0
    real = sitk.GetArrayFromImage(sitk.Resample(image, target, transform, sitk.sitkLinear, outside)).transpose(2, 1, 0)
    seen = near & (real > -1100)
    assert seen.sum() > 0.9 * near.sum()
    # In their true pose, not registered; each ear has its own shape, and noise.
    assert np.corrcoef(hu[seen], real[seen])[0, 1] > 0.7
