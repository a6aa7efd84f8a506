"""A table of two tiny models on two tiny sets, and a run on tiny crops, each trained once."""

import json
from pathlib import Path

import matplotlib.image
import nibabel
import numpy as np
import pytest
import torch
import yaml

from medlangevin.config import parse_config
from medlangevin.evaluation.benchmark.prepare import Benchmark, prepare
from medlangevin.evaluation.benchmark.run import run
from medlangevin.reports.run_pictures import draw_run
from medlangevin.training.train import train

AFFINE = np.array([[-0.2, 0, 0, 1.6], [0, -0.2, 0, 1.2], [0, 0, 0.2, -1.0], [0, 0, 0, 1]])
CROP_SHAPE = (16, 12, 10)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A VAE (two seeds) and an LAE on grey images without validation, the VAE alone on RGB images with it."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    for name, channels in (("dots", 1), ("colours", 3)):
        sizes = {"x_train": 30, "x_valid": 20, "x_test": 30}
        arrays = {key: random.integers(0, 256, (size, channels, 4, 4), np.uint8) for key, size in sizes.items()}
        np.savez(folder / f"{name}.npz", **arrays)
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    benchmark = prepare(folder / "table.yaml", folder / "out", data_root=folder)
    assert run(benchmark) == {}
    torch.set_num_threads(threads)
    return benchmark


@pytest.fixture(scope="session")
def crop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE trained for two epochs on six ears, two more to validate on, each with what preprocess says of it."""
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    (root / "qc").mkdir()
    for number in range(8):
        hu = 500 + 400 * np.indices(CROP_SHAPE)[number % 3] / 10 + random.normal(0, 50, CROP_SHAPE)
        name = f"sub-{number:010x}_side-R_ct"
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), AFFINE), root / f"{name}.nii.gz")
        verdict = {"verdict": "review", "why": "a <b>doubt</b>"} if number == 3 else {"verdict": "ok", "why": ""}
        (root / f"{name}.json").write_text(json.dumps({**verdict, "ncc": 0.9 - number / 100}))
        matplotlib.image.imsave(root / "qc" / f"{name}.png", np.full((4, 4), number))
        split = "training" if number < 6 else "validation"
        listing[split].append({"image": f"{name}.nii.gz", "subject": f"{number:010x}", "side": "R", "split": split})
    (root / "dataset.json").write_text(json.dumps(listing))
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
