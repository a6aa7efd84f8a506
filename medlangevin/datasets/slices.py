"""Middle slices of crops, turned the way radiologists look at them."""

from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def middle_slices(crop: Array) -> tuple[Array, Array, Array]:
    """Axial, coronal and sagittal slices through the middle of a crop (i, j, k), axes along +x, +y, +z of LPS.

    The first index of each slice runs down the picture and the second to the right, for a plot with its origin at the
    upper left: axial with anterior up and the patient's left on the right, coronal and sagittal with superior up,
    sagittal with anterior on the left.
    """
    i, j, k = (size // 2 for size in crop.shape)
    flip = torch.flip if isinstance(crop, torch.Tensor) else np.flip
    return crop[:, :, k].T, flip(crop[:, j, :].T, (0,)), flip(crop[i, :, :].T, (0,))


def strip(crop: torch.Tensor) -> torch.Tensor:
    """The three middle slices of a crop (i, j, k) side by side, (height, width), padded with zeros."""
    slices = middle_slices(crop)
    height = max(part.shape[0] for part in slices)
    padded = [torch.nn.functional.pad(part, (0, 0, 0, height - part.shape[0])) for part in slices]
    return torch.cat(padded, dim=1)
