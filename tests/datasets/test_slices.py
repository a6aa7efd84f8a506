"""Slices turn the patient the way radiologists look at them."""

import numpy as np
import torch

from medlangevin.datasets.slices import middle_slices, strip


def test_directions_of_the_three_planes() -> None:
    # The value of a voxel is where it is: x to the left of the patient, y to the back, z up.
    x, y, z = np.meshgrid(np.arange(6), np.arange(5), np.arange(4), indexing="ij")
    axial_x, coronal_x, sagittal_x = middle_slices(x)
    axial_y, coronal_y, sagittal_y = middle_slices(y)
    axial_z, coronal_z, sagittal_z = middle_slices(z)
    assert axial_x.shape == (5, 6)
    assert axial_x[0].tolist() == [0, 1, 2, 3, 4, 5]  # patient's left on the right
    assert axial_y[:, 0].tolist() == [0, 1, 2, 3, 4]  # anterior up
    assert np.unique(axial_z).tolist() == [2]
    assert coronal_x[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert coronal_z[:, 0].tolist() == [3, 2, 1, 0]  # superior up
    assert np.unique(coronal_y).tolist() == [2]
    assert sagittal_y[0].tolist() == [0, 1, 2, 3, 4]  # anterior on the left
    assert sagittal_z[:, 0].tolist() == [3, 2, 1, 0]
    assert np.unique(sagittal_x).tolist() == [3]


def test_strip_puts_the_planes_side_by_side() -> None:
    crop = torch.arange(6.0 * 5 * 4).reshape(6, 5, 4)
    axial, coronal, sagittal = middle_slices(crop)
    picture = strip(crop)
    assert picture.shape == (5, 6 + 6 + 5)
    assert torch.equal(picture[:, :6], axial)
    assert torch.equal(picture[:4, 6:12], coronal)
    assert torch.equal(picture[:4, 12:], sagittal)
    assert not picture[4, 6:].any()
