"""The reference image in the package, and its likeness to real ears."""

from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np

from medlangevin.datasets.phantom.fields import Grid, add_duct
from medlangevin.datasets.phantom.reference import SPACING_MM, reference_volume, write_reference
from medlangevin.datasets.phantom.shape import MEAN_SHAPE

PACKAGED = Path(str(files("medlangevin.imaging") / "data" / "reference.nii.gz"))


def test_packaged_reference_is_what_the_script_makes(tmp_path):
    write_reference(tmp_path / "reference.nii.gz")
    made, packaged = nibabel.load(tmp_path / "reference.nii.gz"), nibabel.load(PACKAGED)
    assert packaged.get_data_dtype() == np.int16
    np.testing.assert_array_equal(made.affine, packaged.affine)
    # Other processors may round differently, by a unit here and there.
    difference = np.abs(np.asarray(made.dataobj).astype(int) - np.asarray(packaged.dataobj))
    assert difference.max() <= 2
    assert PACKAGED.stat().st_size < 2e6


def test_reference_covers_the_region_about_the_cochlea():
    hu, matrix = reference_volume()
    low, high = matrix[:3, 3], matrix[:3, 3] + SPACING_MM * (np.array(hu.shape) - 1)
    assert (high - low >= [33, 33, 27]).all()
    assert (low < -12).all()
    assert (high > 12).all()
    assert hu.dtype == np.int16
    assert hu.min() >= -1000


def test_reference_has_fluid_in_the_duct_and_bone_about_it():
    hu, matrix = reference_volume()
    points = MEAN_SHAPE.section().centre_line()[5:250]
    i, j, k = np.round((points - matrix[:3, 3]) / SPACING_MM).astype(int).T
    assert np.median(hu[i, j, k]) < 200
    grid = Grid(tuple(matrix[:3, 3]), SPACING_MM, hu.shape)
    field = grid.field()
    add_duct(field, grid, MEAN_SHAPE.section())
    assert np.median(hu[(field > 0.4) & (field < 0.7)]) > 1500
