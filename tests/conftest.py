"""Fixtures shared by all tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# The tensors of the tests are too small to share; threads that wait for a busy core make them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# What a shell starts in the background ignores Ctrl-C, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real inputs: MEDLANGEVIN_SHARED, or ``shared`` beside the checkout. Skips where it is absent."""
    folder = Path(os.environ.get("MEDLANGEVIN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real test data: {folder / 'data'} is absent (set MEDLANGEVIN_SHARED)")
    return folder


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
