"""A small cohort on disk and a small model, so that a whole training takes a fraction of a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medlangevin.config import Config, parse_config

SHAPE = (8, 6, 5)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory, write_crops: Callable[..., list[Path]]) -> Path:
    """Seven people to train on, two to validate on, two to test on: a bright ball of varying place and size."""
    root = tmp_path_factory.mktemp("crops")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"))
    balls = []
    for _ in range(11):
        centre = np.array(SHAPE)[:, None, None, None] / 2 + random.normal(0, 0.5, (3, 1, 1, 1))
        distance = np.sqrt(((grid - centre) ** 2).sum(0))
        balls.append(2000 * (distance < random.uniform(1.5, 2.5)) - 500 + random.normal(0, 100, SHAPE))
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
                    "network": {"channels": [2], "hidden": 4},
                    **({"flow": {"steps": 2}} if kind == "qsl_vae" else {}),
                },
                "training": {"epochs": 4, "batch_size": 3, "accelerator": "cpu", **training},
            },
            source="test",
        )

    return make
