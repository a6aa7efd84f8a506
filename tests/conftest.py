"""Fixtures shared by all tests."""

import copy
import gzip
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# The tensors of the tests are too small to share: threads that wait for a busy core make them ten times slower, and
# what is compared bit by bit depends on their number. Here, before torch is loaded, and for every program that is
# started.
os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib.image
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import yaml
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.config import Config, parse_config
from medlangevin.training.train import train

if TYPE_CHECKING:
    from medlangevin.papers.table.prepare import Table

# What a shell starts in the background ignores Ctrl-C, and so would every program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The fixtures that give real inputs.
REAL = {"shared_data", "simulated_ears", "mnist_root", "real_root"}


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real inputs or a GPU; files with slow tests first, so that no process ends alone with one."""
    weights: Counter[Path] = Counter()
    for item in items:
        if REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker("data")
        if any("CUDA" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skipif")):
            item.add_marker("gpu")
        if slow := item.get_closest_marker("slow"):
            weights[item.path] += slow.kwargs.get("seconds", 3)
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """``logged()``: what the package has logged since the last call, line by line."""
    caplog.set_level(logging.INFO, logger="medlangevin")

    def lines() -> str:
        text = "\n".join(record.getMessage() for record in caplog.records)
        caplog.clear()
        return text

    return lines


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
def mnist_root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with MNIST alone, which is unpacked in a second."""
    archives = sorted((shared_data / "data" / "images" / "mnist").glob("*.gz"))
    if not archives:
        pytest.skip("no real digits in the test data")
    root = tmp_path_factory.mktemp("mnist")
    (root / "MNIST" / "raw").mkdir(parents=True)
    for archive in archives:
        (root / "MNIST" / "raw" / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    return root


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
        arrays: dict[str, Any] = {
            f"x_{split}": random.integers(0, 256, (n, *shape), np.uint8) for split, n in counts.items()
        }
        np.savez(path, **arrays)
        return path

    return write


BALL_SHAPE = (8, 6, 5)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    """Seven people to train on, two to validate on, two to test on: a bright ball of varying place and size."""
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in BALL_SHAPE], indexing="ij"))
    balls = []
    for _ in range(11):
        centre = np.array(BALL_SHAPE)[:, None, None, None] / 2 + random.normal(0, 0.5, (3, 1, 1, 1))
        distance = np.sqrt(((grid - centre) ** 2).sum(0))
        balls.append(2000 * (distance < random.uniform(1.5, 2.5)) - 500 + random.normal(0, 100, BALL_SHAPE))
    write_crops(root, training=balls[:7], validation=balls[7:9], test=balls[9:])
    return root


@pytest.fixture
def make_config(cohort: Path, tmp_path: Path) -> Callable[..., Config]:
    """``make_config(name, kind=..., data=..., **training)``: a run under tmp_path/runs on the cohort."""

    def make(name: str = "run", *, kind: str = "vae", data: dict[str, Any] | None = None, **training: Any) -> Config:
        return parse_config(
            {
                "name": name,
                "output_dir": str(tmp_path / "runs"),
                "seed": 3,
                "data": {"root": str(cohort), **(data or {})},
                "model": {
                    "kind": kind,
                    "latent_dim": 2,
                    **({} if kind == "ppca" else {"network": {"channels": [2], "hidden": 4}}),
                    **({"flow": {"steps": 2}} if kind == "qsl_vae" else {}),
                },
                "training": {"epochs": 4, "batch_size": 3, "accelerator": "cpu", **training},
            },
            source="test",
        )

    return make


class Small(NamedTuple):
    """Folders and files: crops, the run's config, the run, and what generate made of it."""

    data: Path
    config: Path
    run: Path
    synthetic: Path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Small:
    """A run on tiny crops that was trained, evaluated and drawn from, for tests that only read it."""
    root = tmp_path_factory.mktemp("small")
    data = root / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    shape = (16, 12, 10)
    ears = [500 + 40 * np.indices(shape)[number % 3] + random.normal(0, 50, shape) for number in range(8)]
    (data / "qc").mkdir()
    for number, path in enumerate(write_crops(data, training=ears[:4], validation=ears[4:6], test=ears[6:])):
        name = path.name.removesuffix(".nii.gz")
        verdict = {"verdict": "review", "why": "a <b>doubt</b>"} if number == 3 else {"verdict": "ok", "why": ""}
        (data / f"{name}.json").write_text(json.dumps({**verdict, "ncc": 0.9 - number / 100}))
        matplotlib.image.imsave(data / "qc" / f"{name}.png", np.full((4, 4), number))
    config = root / "small.yaml"
    config.write_text(
        f"name: small\noutput_dir: {root / 'runs'}\ndata: {{root: {data}}}\n"
        "model: {kind: vae, latent_dim: 2, network: {channels: [2], hidden: 4}}\n"
        "training: {epochs: 2, batch_size: 2, accelerator: cpu}\n"
    )
    found = Small(data, config, root / "runs" / "small", root / "synthetic")
    for arguments in (
        ("train", config),
        ("evaluate", found.run, "--samples", 2),
        ("generate", found.run, "--count", 2, "--out", found.synthetic),
    ):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
    return found


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    """A QSL-VAE trained for three epochs on six ears, two for validation, none for testing."""
    root = tmp_path_factory.mktemp("evaluation")
    random = np.random.default_rng(0)
    ears = [random.normal(500, 400, (8, 6, 5)) + random.normal(0, 300) for _ in range(8)]
    write_crops(root, training=ears[:6], validation=ears[6:])
    config = parse_config(
        {
            "name": "known",
            "output_dir": str(root / "runs"),
            "data": {"root": str(root)},
            "model": {"kind": "qsl_vae", "latent_dim": 3, "network": {"channels": [2], "hidden": 4}},
            "training": {"epochs": 3, "batch_size": 3, "accelerator": "cpu"},
        },
        source="test",
    )
    return train(config)


@pytest.fixture(scope="session")
def ears(run: Path) -> list[Path]:
    """The crops of the run, those to train on first."""
    return sorted(run.parents[1].glob("*_ct.nii.gz"))


@pytest.fixture(scope="session")
def ear(ears: list[Path]) -> Path:
    return ears[0]


@pytest.fixture(scope="session")
def tiny_table() -> dict[str, Any]:
    """The definition of a table whose cells take a fraction of a second; copy it before you change it."""
    return {
        "name": "tiny",
        "title": "Tiny",
        "figures": ["negative_elbo"],
        "base": {
            "model": {
                "latent_dim": 2,
                "network": {"kind": "mlp", "widths": [3]},
                "likelihood": {"kind": "discretized_logistic"},
            },
            "training": {"epochs": 2, "batch_size": 10, "accelerator": "cpu"},
        },
        "data_sets": {"dots": {"images": {"set": "dots.npz"}}, "colours": {"images": {"set": "colours.npz"}}},
        "rows": {
            "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"dots": [0, 1], "colours": [0]}},
            "lae": {
                "label": "LAE",
                "model": {"kind": "lae", "langevin": {"posterior_steps": 4}},
                "seeds": {"dots": [0]},
            },
        },
    }


@pytest.fixture(scope="session")
def trained(
    tiny_table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]
) -> "Table":
    """A VAE (two seeds) and an LAE on grey images without validation, the VAE alone on RGB images with it."""
    from medlangevin.papers.table.prepare import prepare
    from medlangevin.papers.table.run import run

    folder = tmp_path_factory.mktemp("table")
    for name, channels in (("dots", 1), ("colours", 3)):
        write_images(folder / f"{name}.npz", (channels, 4, 4), train=30, valid=20, test=30)
    definition = copy.deepcopy(tiny_table)
    definition["base"]["training"]["epochs"] = 4
    definition["data_sets"]["dots"]["images"]["train_on"] = "all"
    definition["rows"]["vae"]["seeds"]["dots"] = [3, 4]
    (folder / "table.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    table = prepare(folder / "table.yaml", folder / "out", data_root=folder)
    assert run(table) == {}
    return table
