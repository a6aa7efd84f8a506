"""A table of two tiny models on two tiny sets, trained once."""

import numpy as np
import pytest
import torch
import yaml

from medlangevin.evaluation.benchmark.prepare import Benchmark, prepare
from medlangevin.evaluation.benchmark.run import run


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
