"""How many times a VAE's gradient step on ears takes with the noise of CT: interleaved in one process, median ratios.

    python benchmarks/speed/noise_step.py [--steps 20]

One thread, 60 x 50 x 50 voxels, batches of 5 ears, latent 32, the default networks; random images.
"""

import argparse
from typing import Any

import torch
from step_ratios import Step, measure, optimised, report

from medlangevin.config import parse_config
from medlangevin.models import build

SHAPE, BATCH = (1, 60, 50, 50), 5
SWITCHES = ("scale_per_ear", "scale_map", "correlated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))
    steps = {"VAE": training_step(x, {})}
    steps |= {name: training_step(x, {name: True}) for name in SWITCHES}
    steps["all of them"] = training_step(x, dict.fromkeys(SWITCHES, True))
    report("ears, batch 5", measure(steps, arguments.steps))


def training_step(x: torch.Tensor, likelihood: dict[str, Any]) -> Step:
    torch.manual_seed(0)
    section = {"kind": "vae", "latent_dim": 32, "likelihood": {"kind": "gaussian", **likelihood}}
    config = parse_config({"name": "x", "model": section}, source="benchmark").model
    model = build(config, SHAPE, mean_image=x.mean(0), data_size=100)
    model.likelihood.prepare([x], x.mean(0), None)
    generator = torch.Generator().manual_seed(0)
    return optimised(model, lambda: model(x, generator).loss)


if __name__ == "__main__":
    main()
