"""Slices turn the patient the way radiologists look at them; shifts and noise have a known size.

What augmentation does to an image does not depend on what else is in the batch.
"""

import numpy as np
import pytest
import torch

from medlangevin.datasets.crop_arrays import augment, middle_slices, strip
from medlangevin.system.distributed import Rows, SharedGenerator


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


SHAPE = (1, 8, 7, 6)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_is_moved_by_the_shift_that_was_drawn(axis: int) -> None:
    """Along one axis a ramp of 0.1 a voxel changes by 0.1 times the shift, away from the repeated edges."""
    ramp = 0.1 + 0.1 * torch.arange(8.0)[: SHAPE[axis + 1]]
    x = ramp.reshape([-1 if d == axis else 1 for d in range(3)]).expand(5, *SHAPE)
    moved = augment(x, stream(), shift_voxels=0.5, noise=0)
    shift = 0.5 * (2 * torch.rand(5, 3, generator=stream()) - 1)[:, 2 - axis]
    inside = (moved - x).movedim(axis + 2, 1)[:, 1:-1].flatten(1)
    torch.testing.assert_close(inside, (0.1 * shift)[:, None].expand_as(inside))
    assert (moved - x).abs().max() <= 0.05 + 1e-6


@pytest.mark.claim("deformation")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_is_deformed_by_the_field_that_is_drawn(axis: int) -> None:
    """On a ramp of 0.02 a voxel, values change by 0.02 times the displacement, which is linear between drawn points."""
    size = 9  # so that the 5 points of an axis lie on every second voxel
    x = (0.02 * torch.arange(size).float()).view(-1, *[1] * (2 - axis)).expand(3, 1, size, size, size) + 0.3
    deformed = augment(x, stream(), shift_voxels=0, noise=0, deform_voxels=0.3)
    drawn = 0.3 * torch.randn(3, 3, 5, 5, 5, generator=stream())[:, 2 - axis]
    inside = [slice(1, -1)] * 3
    at_points = ((deformed - x) / 0.02)[:, 0, ::2, ::2, ::2][:, *inside]
    torch.testing.assert_close(at_points, drawn[:, *inside], atol=1e-4, rtol=0)
    between = ((deformed - x) / 0.02)[:, 0, 3, 4, 4]
    torch.testing.assert_close(between, (drawn[:, 1, 2, 2] + drawn[:, 2, 2, 2]) / 2, atol=1e-4, rtol=0)


def test_noise_has_the_deviation_asked_for() -> None:
    """Over 336,000 elements the standard error of a standard deviation is 0.12 %; 5 of them: false alarm 6e-7."""
    x = torch.full((1000, *SHAPE), 0.5)
    noisy = augment(x, stream(), shift_voxels=0, noise=0.02)
    assert noisy.std().item() == pytest.approx(0.02, rel=0.006)
    assert noisy.mean().item() == pytest.approx(0.5, abs=5 * 0.02 / 336_000**0.5)


def test_nothing_is_drawn_where_nothing_is_asked_for_and_values_stay_in_range() -> None:
    x, generator = torch.rand(2, *SHAPE, generator=stream(1)), stream()
    assert augment(x, generator, shift_voxels=0, noise=0) is x
    assert torch.equal(generator.get_state(), stream().get_state())
    wild = augment(x, generator, shift_voxels=0.9, noise=1.0)
    assert wild.min() == 0
    assert wild.max() == 1


@pytest.mark.claim("noise-per-image")
def test_an_image_is_changed_in_the_same_way_by_one_process_and_by_several() -> None:
    x = torch.rand(5, *SHAPE, generator=stream(1))
    whole = augment(x, stream(), shift_voxels=0.5, noise=0.1, deform_voxels=0.5)
    parts = []
    for rows in (Rows(0, 2, 5), Rows(2, 3, 5)):
        shared = SharedGenerator()
        shared.manual_seed(0)
        shared.rows = rows
        part = x[rows.start : rows.start + rows.size]
        parts.append(augment(part, shared, shift_voxels=0.5, noise=0.1, deform_voxels=0.5))
    assert torch.equal(torch.cat(parts), whole)
