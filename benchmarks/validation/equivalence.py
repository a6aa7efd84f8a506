"""Are synthetic ears equivalent to held-out ears, measure by measure? Two one-sided tests at 5 %.

    medlangevin shape synthetic/              (writes synthetic/shape/shape.tsv)
    python benchmarks/validation/equivalence.py synthetic/shape/shape.tsv held_out.tsv [...more] [--margin 0.03]

The first table is that of synthetic ears, the others together are the held-out ears, one a person. Of mean and standard
deviation it prints synthetic over held-out, with the 90 % interval of a percentile bootstrap. Where that interval lies
inside 1 +- margin, the two tests reject "not equivalent" at 5 %: "yes". Where it lies outside altogether, the
difference is shown: "no". Else the ears are too few to tell: "open".
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[Any]

MEASURES = ("volume_mm3", "surface_mm2", "a_mm", "b_mm", "height_mm", "turns", "lateral_wall_mm")
STATISTICS = ("mean", "sd")


def ratio_of(statistic: str, first: Array, second: Array, axis: int = -1) -> Array:
    """A statistic of one sample over that of another."""
    if statistic == "mean":
        return np.asarray(first.mean(axis) / second.mean(axis))
    return np.asarray(first.std(axis, ddof=1) / second.std(axis, ddof=1))


def main() -> None:
    """Read the tables, and print a row for each measure and statistic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("held_out", type=Path, nargs="+")
    parser.add_argument("--margin", type=float, default=0.03)
    given = parser.parse_args()
    first = pd.read_csv(given.synthetic, sep="\t")
    second = pd.concat([pd.read_csv(path, sep="\t") for path in given.held_out])
    print("measure | found of synthetic, of held-out | statistic | ratio | 90 % interval | equivalent")
    for name in MEASURES:
        samples = [frame[name].dropna().to_numpy() for frame in (first, second)]
        found = f"{first[name].notna().mean():.0%}, {second[name].notna().mean():.0%}"
        for statistic in STATISTICS:
            interval = stats.bootstrap(
                samples,
                partial(ratio_of, statistic),
                vectorized=True,
                confidence_level=0.9,
                method="percentile",
                n_resamples=9_999,
                random_state=np.random.default_rng(0),
            ).confidence_interval
            ratio = ratio_of(statistic, samples[0], samples[1])
            inside = 1 - given.margin <= interval.low and interval.high <= 1 + given.margin
            outside = interval.high < 1 - given.margin or interval.low > 1 + given.margin
            verdict = "yes" if inside else "no" if outside else "open"
            reach = f"{interval.low:.3f} to {interval.high:.3f}"
            print(f"{name} | {found} | {statistic} | {ratio:.3f} | {reach} | {verdict}")


if __name__ == "__main__":
    main()
