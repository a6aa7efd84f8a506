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

import numpy as np
import pandas as pd
from scipy import stats

MEASURES = ("volume_mm3", "surface_mm2", "a_mm", "b_mm", "height_mm", "turns", "lateral_wall_mm")
STATISTICS = {"mean": np.mean, "sd": lambda values, axis=-1: np.std(values, axis=axis, ddof=1)}


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
        found = ", ".join(f"{len(sample) / len(frame):.0%}" for sample, frame in zip(samples, (first, second)))
        for statistic, of in STATISTICS.items():
            interval = stats.bootstrap(
                samples,
                lambda a, b, axis=-1, of=of: of(a, axis=axis) / of(b, axis=axis),
                vectorized=True,
                confidence_level=0.9,
                method="percentile",
                n_resamples=9_999,
                random_state=np.random.default_rng(0),
            ).confidence_interval
            ratio = of(samples[0]) / of(samples[1])
            inside = 1 - given.margin <= interval.low and interval.high <= 1 + given.margin
            outside = interval.high < 1 - given.margin or interval.low > 1 + given.margin
            verdict = "yes" if inside else "no" if outside else "open"
            print(f"{name} | {found} | {statistic} | {ratio:.3f} | {interval.low:.3f} to {interval.high:.3f} | {verdict}")


if __name__ == "__main__":
    main()
