"""Augmentation: shifts and noise of known size, an image's own whatever else is in the batch."""

import pytest
import torch

from medlangevin.datasets.augment import augment
from medlangevin.system.distributed import Rows, SharedGenerator

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


def test_an_image_is_changed_in_the_same_way_by_one_process_and_by_several() -> None:
    x = torch.rand(5, *SHAPE, generator=stream(1))
    whole = augment(x, stream(), shift_voxels=0.5, noise=0.1)
    parts = []
    for rows in (Rows(0, 2, 5), Rows(2, 3, 5)):
        shared = SharedGenerator().manual_seed(0)
        shared.rows = rows
        part = x[rows.start : rows.start + rows.size]
        parts.append(augment(part, shared, shift_voxels=0.5, noise=0.1))
    assert torch.equal(torch.cat(parts), whole)
