"""Light augmentation of volumes that keeps anatomy: shifts below a voxel, and noise. No flips: ears have a side."""

import torch
from torch import Tensor
from torch.nn import functional

from medlangevin.samplers import standard_normal, uniform


def augment(x: Tensor, generator: torch.Generator, *, shift_voxels: float, noise: float) -> Tensor:
    """Volumes ``x`` (N, 1, i, j, k) in [0, 1], each moved and made noisier on its own; the same shape, in [0, 1].

    Moved by a uniform draw from +-``shift_voxels`` along each axis, by trilinear interpolation with the edge repeated;
    then white noise of the standard deviation ``noise``, in the units of ``x``, is added. Either is left out at 0.
    """
    if shift_voxels > 0:
        size = torch.tensor(x.shape[:1:-1], dtype=x.dtype, device=x.device)  # grids count axes from the last
        shift = shift_voxels * (2 * uniform((len(x), 3), like=x, generator=generator) - 1)
        placement = torch.eye(3, 4, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
        placement[:, :, 3] = 2 * shift / size  # from -1 to 1 over the volume
        grid = functional.affine_grid(placement, list(x.shape), align_corners=False)
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if noise > 0:
        x = x + noise * standard_normal(tuple(x.shape), like=x, generator=generator)
    return x.clamp(0, 1) if shift_voxels > 0 or noise > 0 else x
