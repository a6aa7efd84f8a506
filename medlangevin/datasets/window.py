"""The window between Hounsfield units and the networks' input."""

from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def to_unit(hu: Array, window_hu: tuple[float, float]) -> Array:
    """Clip HU to ``window_hu`` = (low, high) and map linearly to [0, 1]. Any shape, floating point."""
    low, high = window_hu
    return (hu.clip(low, high) - low) / (high - low)


def to_hu(x: Array, window_hu: tuple[float, float]) -> Array:
    """The inverse map, [0, 1] to HU; values outside [0, 1] go outside the window. Any shape, floating point."""
    low, high = window_hu
    return x * (high - low) + low
