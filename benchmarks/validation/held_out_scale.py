"""The NLL of runs once the noise scale of each is that of its validation ears' residuals.

    python benchmarks/validation/held_out_scale.py RUN [RUN ...] [--checkpoint best] [--validation 6] [--ears 60]

One scale for all ears decides thousands of nats, and the one that training ends with depends on its length. Here every
run gets the root mean square of what it leaves unexplained of validation ears. Prints the NLL of each test ear by each
run; with two or more also the mean difference of each to the first, over people, with its standard error. Runs of the
folds of a cross-validation are given fold by fold to calls of their own.
"""

import argparse
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from medlangevin.datasets.crops import CropDataset
from medlangevin.evaluation.evidence import evidence
from medlangevin.evaluation.figure import figure_of
from medlangevin.likelihoods import Gaussian
from medlangevin.models.laplace import find_mode
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run


@torch.no_grad()
def held_out_scale(run: Run, crops: CropDataset) -> float:
    """The root mean square of what reconstructions leave of ears, with latents found at each."""
    squares = []
    for number in range(len(crops)):
        x = crops[number][None]
        squares.append((x - run.model.reconstruct(x, find_mode(run.model, x))).square().mean().item())
    return math.sqrt(fmean(squares))


def nll(run: Run, crops: CropDataset) -> Tensor:
    """Of each ear, in nats; NaN where it is not measured."""
    noise = (torch.Generator().manual_seed(0) for _ in range(len(crops)))
    return torch.cat([evidence(run.model, crops[number][None], own).nll for number, own in enumerate(noise)])


def main() -> None:
    """Read the command line, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--validation", type=int, default=6, help="validation ears at most")
    parser.add_argument("--ears", type=int, default=60, help="test ears at most")
    given = parser.parse_args()
    found: dict[Path, dict[str, list[float]]] = {}
    for path in given.runs:
        run = load_run(path, checkpoint=given.checkpoint)
        likelihood = run.model.likelihood
        if not isinstance(likelihood, Gaussian) or not likelihood.is_white:
            raise SystemExit(f"{path}: its noise is not white and of one scale")
        index = run.crops(None)
        validation, test = (
            CropDataset(ears, index.shape, window_hu=run.window_hu, cache_mb=0)
            for ears in (index.validation[: given.validation], index.split("test")[: given.ears])
        )
        scale = held_out_scale(run, validation)
        print(f"{path}: scale {likelihood.scale.item():.4f} as trained, {scale:.4f} of validation ears", flush=True)
        likelihood.log_scale.data.fill_(math.log(scale))
        by_person: dict[str, list[float]] = defaultdict(list)
        for ear, value in zip(test.ears, nll(run, test).tolist(), strict=True):
            by_person[ear.subject].append(value)
        found[path] = by_person
        print("  NLL", " ".join(f"{value:.0f}" for values in by_person.values() for value in values), flush=True)
    first, *others = given.runs
    for other in others:
        differences = [fmean(found[other][person]) - fmean(found[first][person]) for person in found[first]]
        measured = [value for value in differences if math.isfinite(value)]
        if len(measured) > 1:
            mean, error, count = figure_of(measured)[:3]
            print(f"{other} minus {first}: {mean:+.0f} +- {error:.0f} nats, {count} people")


if __name__ == "__main__":
    main()
