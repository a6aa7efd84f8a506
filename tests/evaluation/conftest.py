"""A run whose model is known: trained for no epoch at all on a cohort of small crops."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medlangevin.config import parse_config
from medlangevin.training.train import train

AFFINE = np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.4], [0, 0, 0.2, -4.5], [0, 0, 0, 1]])
SHAPE = (8, 6, 5)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A QSL-VAE trained for three epochs on six ears, two for validation, none for testing."""
    root = tmp_path_factory.mktemp("evaluation")
    random = np.random.default_rng(0)
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for number in range(8):
        hu = random.normal(500, 400, SHAPE) + random.normal(0, 300)
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), AFFINE), root / f"{number}_ct.nii.gz")
        split = "training" if number < 6 else "validation"
        listing[split].append({"image": f"{number}_ct.nii.gz", "subject": str(number), "side": "R", "split": split})
    (root / "dataset.json").write_text(json.dumps(listing))
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
