"""A run on tiny crops that was trained, evaluated and drawn from, for tests that ask every command about it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medlangevin.cli.main import main


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
def table(tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]) -> Path:
    """A benchmark table of one small cell; its image set lies beside it."""
    root = tmp_path_factory.mktemp("table")
    (root / "table.yaml").write_text(TABLE)
    write_images(root / "dots.npz", (1, 4, 4), train=4, valid=4, test=4)
    return root / "table.yaml"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Small:
    root = tmp_path_factory.mktemp("small")
    data = root / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    shape = (16, 12, 10)
    ears = [500 + 40 * np.indices(shape)[number % 3] + random.normal(0, 50, shape) for number in range(8)]
    for path in write_crops(data, training=ears[:4], validation=ears[4:6], test=ears[6:]):
        sidecar = data / path.name.replace(".nii.gz", ".json")
        sidecar.write_text(json.dumps({"verdict": "ok", "why": "", "ncc": 0.9}))
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
