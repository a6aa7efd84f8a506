"""A run on tiny crops, trained once."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from medlangevin.config import parse_config
from medlangevin.reports.run_pictures import draw_run
from medlangevin.training.train import train


@pytest.fixture(scope="session")
def crop_run(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    """A VAE trained for two epochs on six ears, two more to validate on, each with what preprocess says of it."""
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    shape = (16, 12, 10)
    ears = [500 + 40 * np.indices(shape)[number % 3] + random.normal(0, 50, shape) for number in range(8)]
    (root / "qc").mkdir()
    for number, path in enumerate(write_crops(root, training=ears[:6], validation=ears[6:])):
        name = path.name.removesuffix(".nii.gz")
        verdict = {"verdict": "review", "why": "a <b>doubt</b>"} if number == 3 else {"verdict": "ok", "why": ""}
        (root / f"{name}.json").write_text(json.dumps({**verdict, "ncc": 0.9 - number / 100}))
        matplotlib.image.imsave(root / "qc" / f"{name}.png", np.full((4, 4), number))
    config = parse_config(
        {
            "name": "a_run",
            "output_dir": str(root / "runs"),
            "data": {"root": str(root)},
            "model": {"kind": "vae", "latent_dim": 3, "network": {"channels": [2], "hidden": 4}},
            "training": {"epochs": 2, "batch_size": 3, "accelerator": "cpu"},
        },
        source="test",
    )
    directory = train(config)
    draw_run(directory)
    return directory
