"""Linear maps that work on each axis of a grid by itself: the cosine transform, and interpolation between points."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cosine_transform(size: int) -> Tensor:
    """The orthonormal discrete cosine transform of type II, C.

    Args:
        size: The number of points n.

    Returns:
        (n, n) float64; row f is the cosine of f / (2 n) cycles per point.
    """
    points = torch.arange(size, dtype=torch.float64)
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * points[:, None] * (points + 0.5))
    matrix[0] /= math.sqrt(2)
    return matrix


def interpolation(size: int, count: int) -> Tensor:
    """Linear interpolation between equally spaced values, of which the first and the last lie at the ends.

    Args:
        size: The number of points n.
        count: The number of values m.

    Returns:
        (n, m) float64, each row with sum 1.
    """
    hats = functional.interpolate(
        torch.eye(count, dtype=torch.float64)[None], size=size, mode="linear", align_corners=True
    )
    return hats[0].T


def along_axes(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix along each of the last axes, in the precision of ``values``, under autocast as well.

    Args:
        values: (..., n_1, ..., n_k).
        matrices: k of them, (m_i, n_i).

    Returns:
        (..., m_1, ..., m_k).
    """
    with torch.autocast(values.device.type, enabled=False):
        for axis, matrix in enumerate(matrices, start=values.ndim - len(matrices)):
            matrix = matrix.to(values.dtype)
            before, after = values.shape[:axis], values.shape[axis + 1 :]
            # As products from the left that need no axis moved in memory; the last one from the right.
            if after:
                values = matrix @ values.reshape(-1, values.shape[axis], math.prod(after))
            else:
                values = values @ matrix.T
            values = values.reshape(*before, len(matrix), *after)
    return values
