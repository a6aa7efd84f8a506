"""A table of two tiny models on two tiny sets, and a run on tiny crops, each trained once."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import yaml

from medlangevin.config import parse_config
from medlangevin.evaluation.benchmark.prepare import Benchmark, prepare
from medlangevin.evaluation.benchmark.run import run
from medlangevin.reports.run_pictures import draw_run
from medlangevin.training.train import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, write_images: Callable[..., Path]) -> Benchmark:
    """A VAE (two seeds) and an LAE on grey images without validation, the VAE alone on RGB images with it."""
    folder = tmp_path_factory.mktemp("table")
    for name, channels in (("dots", 1), ("colours", 3)):
        write_images(folder / f"{name}.npz", (channels, 4, 4), train=30, valid=20, test=30)
    (folder / "table.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "title": "Tiny",
                "figures": ["negative_elbo"],
                "base": {
                    "model": {
                        "latent_dim": 2,
                        "network": {"kind": "mlp", "widths": [3]},
                        "likelihood": {"kind": "discretized_logistic"},
                    },
                    "training": {"epochs": 4, "batch_size": 10, "accelerator": "cpu"},
                },
                "data_sets": {
                    "dots": {"images": {"set": "dots.npz", "train_on": "all"}},
                    "colours": {"images": {"set": "colours.npz"}},
                },
                "rows": {
                    "vae": {"label": "VAE", "model": {"kind": "vae"}, "seeds": {"dots": [3, 4], "colours": [0]}},
                    "lae": {
                        "label": "LAE",
                        "model": {"kind": "lae", "langevin": {"posterior_steps": 4}},
                        "seeds": {"dots": [0]},
                    },
                },
            },
            sort_keys=False,
        )
    )
    benchmark = prepare(folder / "table.yaml", folder / "out", data_root=folder)
    assert run(benchmark) == {}
    return benchmark


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
