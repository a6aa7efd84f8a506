"""Made-up sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as an .npz in tmp_path."""

    def save(name: str, /, **arrays: Any) -> Path:
        path = tmp_path / name
        np.savez(path, **arrays)
        return path

    return save


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """Random uint8 images (count, *shape), below ``top``."""
    rng = np.random.default_rng(0)

    def images(count: int, *shape: int, top: int = 256) -> np.ndarray:
        return rng.integers(0, top, (count, *(shape or (1, 4, 5))), dtype=np.uint8)

    return images
