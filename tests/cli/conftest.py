"""A run on tiny crops that was trained, evaluated and drawn from, for tests that ask every command about it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main

SHAPE = (16, 12, 10)
SPLITS = ("train", "valid", "test")
AFFINE = np.diag([-0.2, -0.2, 0.2, 1])


class Small(NamedTuple):
    """Folders and files: crops, the run's config, the run, and what generate made of it."""

    data: Path
    config: Path
    run: Path
    synthetic: Path


TABLE = """\
name: t
title: T
figures: [negative_elbo]
base: {model: {latent_dim: 2, network: {kind: mlp, widths: [3]}}, training: {epochs: 1, accelerator: cpu}}
data_sets: {dots: {images: {set: dots.npz}}}
rows: {vae: {label: VAE, model: {kind: vae}, seeds: {dots: [0]}}}
"""


def _call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def call() -> Callable[..., Result]:
    """``call(command, *arguments)`` in this process."""
    return _call


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark table of one small cell; its image set lies beside it."""
    root = tmp_path_factory.mktemp("table")
    (root / "table.yaml").write_text(TABLE)
    np.savez(root / "dots.npz", **{f"x_{split}": np.full((4, 1, 4, 4), 9, np.uint8) for split in SPLITS})
    return root / "table.yaml"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    root = tmp_path_factory.mktemp("small")
    data = root / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for number, split in enumerate(["training"] * 4 + ["validation"] * 2 + ["test"] * 2):
        hu = 500 + 40 * np.indices(SHAPE)[number % 3] + random.normal(0, 50, SHAPE)
        name = f"sub-{number:010x}_side-R_ct"
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), AFFINE), data / f"{name}.nii.gz")
        (data / f"{name}.json").write_text(json.dumps({"verdict": "ok", "why": "", "ncc": 0.9}))
        listing[split].append({"image": f"{name}.nii.gz", "subject": f"{number:010x}", "side": "R", "split": split})
    (data / "dataset.json").write_text(json.dumps(listing))
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
        result = _call(*arguments)
        assert result.exit_code == 0, result.output
    return found
