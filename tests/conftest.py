"""Fixtures shared by all tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# The tensors of the tests are too small to share: threads that wait for a busy core make them ten times slower, and
# what is compared bit by bit depends on their number. Here, before torch is loaded, and for every program that is
# started.
os.environ["OMP_NUM_THREADS"] = "1"

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

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
def simulated_ears(shared_data: Path) -> Path:
    """Scans simulated from real inner-ear surfaces: dicom/, and truth/ with a JSON file for each."""
    folder = shared_data / "data" / "ct" / "simulated_ears"
    if not folder.is_dir():
        pytest.skip(f"no simulated scans: {folder} is absent")
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


@pytest.fixture(scope="session")
def read_series() -> Callable[[Path], sitk.Image]:
    """``read_series(folder)``: its one series in float32, slices in order of position, without the package's reader."""

    def height(path: Path) -> float:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        row, column = np.array(header.ImageOrientationPatient).reshape(2, 3)
        return float(np.cross(row, column) @ np.array(header.ImagePositionPatient))

    return lambda folder: sitk.ReadImage([str(path) for path in sorted(folder.iterdir(), key=height)], sitk.sitkFloat32)


@pytest.fixture(scope="session")
def write_crops() -> Callable[..., list[Path]]:
    """``write_crops(root, training=..., validation=..., test=...)``: volumes of HU as right ears; the paths of all.

    Named and listed as preprocess does it, but for the folder: they lie in ``root`` itself.
    """
    affine = np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.4], [0, 0, 0.2, -4.5], [0, 0, 0, 1]])

    def write(root: Path, **splits: Iterable[np.ndarray]) -> list[Path]:
        listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
        paths: list[Path] = []
        for split, volumes in splits.items():
            for hu in volumes:
                subject = f"{len(paths):010x}"
                paths.append(root / f"sub-{subject}_side-R_ct.nii.gz")
                nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), affine), paths[-1])
                listing[split].append({"image": paths[-1].name, "subject": subject, "side": "R", "split": split})
        (root / "dataset.json").write_text(json.dumps(listing))
        return paths

    return write


@pytest.fixture(scope="session")
def write_images() -> Callable[..., Path]:
    """``write_images(path, shape, seed=0, train=..., valid=..., test=...)``: so many random images as an .npz."""

    def write(path: Path, shape: tuple[int, ...], seed: int = 0, **counts: int) -> Path:
        random = np.random.default_rng(seed)
        np.savez(path, **{f"x_{split}": random.integers(0, 256, (n, *shape), np.uint8) for split, n in counts.items()})
        return path

    return write
