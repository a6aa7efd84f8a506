"""A small cohort on disk and a small model, so that a whole training takes a fraction of a second."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from medlangevin.config import Config, parse_config

AFFINE = np.array([[-0.2, 0, 0, 6.3], [0, -0.2, 0, 4.4], [0, 0, 0.2, -4.5], [0, 0, 0, 1]])
SHAPE = (8, 6, 5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and exact comparisons need their number fixed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven people to train on, two to validate on, two to test on: a bright ball of varying place and size."""
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"))
    listing: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for number in range(11):
        centre = np.array(SHAPE)[:, None, None, None] / 2 + random.normal(0, 0.5, (3, 1, 1, 1))
        distance = np.sqrt(((grid - centre) ** 2).sum(0))
        hu = 2000 * (distance < random.uniform(1.5, 2.5)) - 500 + random.normal(0, 100, SHAPE)
        name = f"sub-{number}_side-R_ct.nii.gz"
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), AFFINE), root / name)
        split = "training" if number < 7 else "validation" if number < 9 else "test"
        listing[split].append({"image": name, "subject": str(number), "side": "R", "split": split})
    (root / "dataset.json").write_text(json.dumps(listing))
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
                    "network": {"channels": [2], "hidden": 4},
                    **({"flow": {"steps": 2}} if kind == "qsl_vae" else {}),
                },
                "training": {"epochs": 4, "batch_size": 3, "accelerator": "cpu", **training},
            },
            source="test",
        )

    return make
