"""Made-up sets, and the real images where they are."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root with all real images, unpacked once and removed at the end (300 MB)."""
    unpack = shared_data / "data" / "images" / "unpack.py"
    if not unpack.is_file():
        pytest.skip(f"no real images: {unpack} is absent")
    root = tmp_path_factory.mktemp("images")
    subprocess.run([sys.executable, str(unpack), str(root)], check=True, stdout=subprocess.DEVNULL)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as an .npz in tmp_path."""

    def save(name: str, /, **arrays: object) -> Path:
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
