"""Held-out ears, what several runs make of them, and what the same runs draw, on one picture.

    python benchmarks/validation/side_by_side.py OUT.png RUN [RUN ...] [--ears 4] [--split test]

A row an ear: the three middle slices of the CT, then the reconstruction of each run with the latent found at the ear.
Below stand draws from each run, of latents fitted to its training ears. All runs have to be of the same crops.
"""

import argparse
from pathlib import Path

import torch

from medlangevin.datasets.crop_arrays import strip, to_unit
from medlangevin.datasets.crops import CropDataset
from medlangevin.inference.latents import fitted
from medlangevin.models.laplace import find_mode
from medlangevin.reports.image_grid import save_image_grid
from medlangevin.runs.load import load_run


@torch.no_grad()
def main() -> None:
    """Read the command line, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--ears", type=int, default=4)
    parser.add_argument("--split", choices=("training", "validation", "test"), default="test")
    given = parser.parse_args()
    runs = [load_run(path) for path in given.runs]
    index, window = runs[0].crops(None), runs[0].window_hu
    crops = CropDataset(index.split(given.split)[: given.ears], index.shape, window_hu=window, cache_mb=0)
    x = torch.stack([crops[number] for number in range(len(crops))])
    shown = [x] + [run.model.reconstruct(x, find_mode(run.model, x)) for run in runs]
    drawn = []
    for run in runs:
        latents = fitted(run, count=len(x), seed=0)
        hu = [run.draw(latents.at(number), number, seed=0, noise=False) for number in range(1, len(x) + 1)]
        drawn.append(torch.stack([to_unit(torch.from_numpy(volume), window)[None] for volume in hu]))
    above = torch.stack(shown, 1).flatten(0, 1)
    below = torch.stack([x.new_zeros(x.shape), *drawn], 1).flatten(0, 1)
    images = torch.stack([strip(volume[0])[None] for volume in torch.cat([above, below])])
    title = f"{given.split} ears | {' | '.join(run.name for run in runs)}"
    labels = [f"ear {number + 1}" for number in range(len(x))] + [f"draw {number + 1}" for number in range(len(x))]
    save_image_grid(images, given.out, columns=len(shown), title=title, labels=labels)
    print(given.out)


if __name__ == "__main__":
    main()
