"""Are synthetic ears equivalent to held-out ears, measure by measure? Two one-sided tests at 5 %.

    medlangevin shape synthetic/              (writes synthetic/shape/shape.tsv)
    python benchmarks/validation/equivalence.py synthetic/shape/shape.tsv held_out.tsv [...more] [--margin 0.03]

The first table is that of synthetic ears, the others together are the held-out ears, one a person. Of mean and standard
deviation it prints synthetic over held-out, with the 90 % interval of a percentile bootstrap. Where that interval lies
inside 1 +- margin, the two tests reject "not equivalent" at 5 %: "yes". Where it lies outside altogether, the
difference is shown: "no". Else the ears are too few to tell: "open".
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from shape_accuracy import MEASURES

Array = NDArray[Any]

STATISTICS = ("mean", "sd")
RESAMPLES = 10_000


def ratio_of(statistic: str, first: Array, second: Array) -> Any:
    """A statistic of one sample over that of another, along the last axis."""
    if statistic == "mean":
        return first.mean(-1) / second.mean(-1)
    return first.std(-1, ddof=1) / second.std(-1, ddof=1)


def main() -> None:
    """Read the tables, and print a row for each measure and statistic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("held_out", type=Path, nargs="+")
    parser.add_argument("--margin", type=float, default=0.03)
    given = parser.parse_args()
    first = pd.read_csv(given.synthetic, sep="\t")
    second = pd.concat([pd.read_csv(path, sep="\t") for path in given.held_out])
    random = np.random.default_rng(0)
    print("measure | found of synthetic, of held-out | statistic | ratio | 90 % interval | equivalent")
    for name in MEASURES:
        samples = [frame[name].dropna().to_numpy() for frame in (first, second)]
        found = f"{first[name].notna().mean():.0%}, {second[name].notna().mean():.0%}"
        for statistic in STATISTICS:
            ratio = ratio_of(statistic, *samples)
            repeats = [random.choice(sample, (RESAMPLES, len(sample))) for sample in samples]
            low, high = np.quantile(ratio_of(statistic, *repeats), [0.05, 0.95])
            inside = 1 - given.margin <= low and high <= 1 + given.margin
            outside = high < 1 - given.margin or low > 1 + given.margin
            verdict = "yes" if inside else "no" if outside else "open"
            print(f"{name} | {found} | {statistic} | {ratio:.3f} | {low:.3f} to {high:.3f} | {verdict}")


if __name__ == "__main__":
    main()
