"""A run on small crops, and the first of its ears."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medlangevin.config import parse_config
from medlangevin.training.train import train


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
