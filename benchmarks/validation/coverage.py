"""Do posterior intervals of phantom ears cover the truth?

    python benchmarks/validation/coverage.py RUN PHANTOM KEY [--ears 60] [--draws 20] [--split test]

PHANTOM is the folder of ``medlangevin phantom``, KEY the key of its crops' pseudonyms. Of each ear latents are drawn
from Laplace's posterior, decoded and measured. The 90 % interval of a measure is the draws' mean +- 1.645 times their
standard deviation. Printed: the share of ears whose true value lies inside, the interval's half width, and the errors
of the draws' mean and of the measure of the crop itself.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from shape_accuracy import MEASURES

from medlangevin.datasets.crop_arrays import to_hu
from medlangevin.datasets.crops import CropDataset
from medlangevin.imaging.cohort.deidentify import load_key, series_hash
from medlangevin.models.laplace import NormalPosterior, laplace
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator
from medlangevin.shape.measure import measure
from medlangevin.system.files import read_json
from medlangevin.system.progress import progress

COVERED = ("volume_mm3", "a_mm", "b_mm")
# Standard deviations to both sides that hold 90 % of a normal distribution.
REACH = 1.645


def truths(phantom: Path, key: bytes) -> dict[str, dict[str, float]]:
    """The true measures of every scan of one ear, by the pseudonym of its series."""
    found = {}
    for path in sorted((phantom / "truth").glob("*.json")):
        record = read_json(path)
        ear = record["ears"][0]
        found[series_hash(key, record["series_instance_uid"])] = {name: ear[MEASURES[name][0]] for name in COVERED}
    return found


@torch.no_grad()
def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("phantom", type=Path)
    parser.add_argument("key", type=Path)
    parser.add_argument("--ears", type=int, default=60)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    given = parser.parse_args()
    key = load_key(given.key)
    if key is None:
        raise SystemExit(f"{given.key} does not exist")
    run = load_run(given.run, checkpoint=given.checkpoint)
    index, window, noise = run.crops(None), run.window_hu, generator(0, "coverage")
    ears = index.split(given.split)[: given.ears]
    crops = CropDataset(ears, index.shape, window_hu=window, cache_mb=0)
    known = truths(given.phantom, key)

    def measured(x: torch.Tensor) -> list[float]:
        found = measure(to_hu(x[0], window).numpy(), index.affine)
        return [getattr(found, name) for name in COVERED]

    rows = []
    with progress(len(ears), "ear") as track:
        for number, ear in enumerate(ears):
            x = crops[number][None]
            about = laplace(run.model, x)
            many = NormalPosterior(*(part.expand(given.draws, *part.shape[1:]) for part in about))
            draws = np.array([measured(volume) for volume in run.model.decode(many.sample(noise))])
            series = read_json(Path(str(ear.image).replace(".nii.gz", ".json")))["series"]
            rows.append((draws.mean(0), draws.std(0, ddof=1), measured(x[0]), list(known[series].values())))
            track.advance(number + 1)
    means, deviations, of_crop, true = np.moveaxis(np.array(rows), 1, 0)
    print("measure | ears | covered | half width | error of the mean: bias, sd | of the crop's measure: bias, sd")
    for column, name in enumerate(COVERED):
        good = np.isfinite(means[:, column] + deviations[:, column] + of_crop[:, column])
        mean, deviation, crop, truth = (values[good, column] for values in (means, deviations, of_crop, true))
        covered = np.abs(mean - truth) <= REACH * deviation
        print(
            f"{name} | {good.sum()} | {covered.mean():.0%} | {REACH * deviation.mean():.3f} | "
            f"{(mean - truth).mean():+.3f}, {(mean - truth).std(ddof=1):.3f} | "
            f"{(crop - truth).mean():+.3f}, {(crop - truth).std(ddof=1):.3f}"
        )


if __name__ == "__main__":
    main()
