"""What is done to crops as arrays: the HU window, middle slices, light augmentation."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medlangevin.system.random import standard_normal, uniform

# Points of the grid that deformations are drawn on: 2 to 3 mm apart in a crop.
_DEFORMED_AT = (5, 5, 5)

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def to_unit(hu: Array, window_hu: tuple[float, float]) -> Array:
    """Clip HU to a window and map it linearly to the networks' input.

    Args:
        hu: Any shape, floating point.
        window_hu: (low, high), what becomes 0 and 1.

    Returns:
        Values in [0, 1], shaped like ``hu``.
    """
    low, high = window_hu
    return (hu.clip(low, high) - low) / (high - low)


def to_hu(x: Array, window_hu: tuple[float, float]) -> Array:
    """The inverse of ``to_unit``.

    Args:
        x: Any shape, floating point; values outside [0, 1] go outside the window.
        window_hu: (low, high), what 0 and 1 become.

    Returns:
        HU, shaped like ``x``.
    """
    low, high = window_hu
    return x * (high - low) + low


def middle_slices(crop: Array) -> tuple[Array, Array, Array]:
    """The slices through the middle of a crop, turned the way radiologists look at them.

    The first index of each slice runs down the picture and the second to the right, for a plot with its origin at the
    upper left: axial with anterior up and the patient's left on the right, coronal and sagittal with superior up,
    sagittal with anterior on the left.

    Args:
        crop: (i, j, k), axes along +x, +y, +z of LPS.

    Returns:
        Axial (j, i), coronal (k, i) and sagittal (k, j).
    """
    i, j, k = (size // 2 for size in crop.shape)
    flip = torch.flip if isinstance(crop, torch.Tensor) else np.flip
    return crop[:, :, k].T, flip(crop[:, j, :].T, (0,)), flip(crop[i, :, :].T, (0,))


def strip(crop: Tensor) -> Tensor:
    """The three middle slices of a crop side by side.

    Args:
        crop: (i, j, k).

    Returns:
        (height, width), padded with zeros.
    """
    slices = middle_slices(crop)
    height = max(part.shape[0] for part in slices)
    return torch.cat([functional.pad(part, (0, 0, 0, height - part.shape[0])) for part in slices], dim=1)


def augment(
    x: Tensor, generator: torch.Generator, *, shift_voxels: float, noise: float, deform_voxels: float = 0.0
) -> Tensor:
    """Light augmentation: each volume is moved and deformed a little and made noisier on its own. No flips.

    Args:
        x: (N, 1, i, j, k) in [0, 1].
        generator: Where shifts, deformations and noise come from.
        shift_voxels: Moved by a uniform draw from +- this along each axis, by trilinear interpolation with the edge
            repeated; 0: not at all.
        noise: The standard deviation of white noise, in the units of ``x``, added after it; 0: none.
        deform_voxels: Standard deviation of displacements along each axis at the 5 x 5 x 5 points of a grid over the
            volume, independent of each other, and linear between them; 0: none.

    Returns:
        Shaped like ``x``, in [0, 1].
    """
    if shift_voxels > 0 or deform_voxels > 0:
        size = torch.tensor(x.shape[:1:-1], dtype=x.dtype, device=x.device)  # grids count axes from the last
        placement = torch.eye(3, 4, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
        if shift_voxels > 0:
            shift = shift_voxels * (2 * uniform((len(x), 3), like=x, generator=generator) - 1)
            placement[:, :, 3] = 2 * shift / size  # from -1 to 1 over the volume
        grid = functional.affine_grid(placement, list(x.shape), align_corners=False)
        if deform_voxels > 0:
            points = deform_voxels * standard_normal((len(x), 3, *_DEFORMED_AT), like=x, generator=generator)
            field = functional.interpolate(points, x.shape[2:], mode="trilinear", align_corners=True)
            grid = grid + 2 * field.movedim(1, -1) / size
        x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if noise > 0:
        x = x + noise * standard_normal(tuple(x.shape), like=x, generator=generator)
    return x.clamp(0, 1) if noise > 0 or shift_voxels > 0 or deform_voxels > 0 else x
