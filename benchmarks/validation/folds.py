"""Cross-validation over people: every ear is a test ear once, as a single split of few ears says little.

    python benchmarks/validation/folds.py split CROPS FOLDS --folds 5
    medlangevin benchmark configs/benchmarks/ears_folds.yaml --out TABLE      (beside FOLDS)
    python benchmarks/validation/folds.py pool FOLDS TABLE --figure nll --control vae

``split`` writes FOLDS/fold1/dataset.json and so on, which list the crops of CROPS. A fold tests on a fifth of the
people, validates on the next fifth and trains on the others. ``pool`` reads the cells of a table whose data sets are
the folds. It prints the paired difference of each row to a control: the mean over people, with its standard error.
"""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

SPLITS = ("training", "validation", "test")


def split(crops: Path, out: Path, folds: int) -> None:
    """Write the folds of a folder of crops."""
    listing = json.loads((crops / "dataset.json").read_text())
    ears = [ear for name in SPLITS for ear in listing[name]]
    people = sorted({ear["subject"] for ear in ears})
    random.Random(0).shuffle(people)
    fold_of = {person: number % folds for number, person in enumerate(people)}
    for fold in range(folds):
        folder = out / f"fold{fold + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        name_of = {fold: "test", (fold + 1) % folds: "validation"}
        fresh: dict[str, list[dict[str, str]]] = {name: [] for name in SPLITS}
        for ear in ears:
            name = name_of.get(fold_of[ear["subject"]], "training")
            fresh[name].append(ear | {"image": str((crops / ear["image"]).resolve()), "split": name})
        (folder / "dataset.json").write_text(json.dumps(fresh, indent=1))
        print(folder, {name: len(fresh[name]) for name in SPLITS})


def pool(out: Path, table: Path, figure: str, control: str) -> None:
    """Print every row's figure and its paired difference to the control, over the people of all folds."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((table / "cells").glob("*.json")):
        cell = json.loads(path.read_text())
        listing = json.loads((out / cell["data_set"] / "dataset.json").read_text())["test"]
        found = cell["figures"].get(figure, {}).get("values")
        if found is None:
            print(f"{path.stem}: {figure} was not measured for every ear; left out")
            continue
        for ear, value in zip(listing, found, strict=True):
            values[cell["row"]][ear["subject"]].append(value)
    means = {row: {person: fmean(ears) for person, ears in people.items()} for row, people in values.items()}
    if control not in means:
        raise SystemExit(f"{table}: the row {control} has no {figure} yet; wait for its cells")
    print(f"{figure}, mean over people; minus {control} in pairs")
    for row, people in means.items():
        common = sorted(people.keys() & means[control].keys())
        differences = [people[person] - means[control][person] for person in common]
        error = stdev(differences) / len(differences) ** 0.5
        mean, difference = fmean(people.values()), fmean(differences)
        print(f"{row:24s} {mean:14,.1f} {difference:+12,.1f} +- {error:,.1f}  n = {len(common)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("split")
    one.add_argument("crops", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--folds", type=int, default=5)
    two = commands.add_parser("pool")
    two.add_argument("out", type=Path)
    two.add_argument("table", type=Path)
    two.add_argument("--figure", default="nll")
    two.add_argument("--control", default="vae")
    given = parser.parse_args()
    if given.command == "split":
        split(given.crops, given.out, given.folds)
    else:
        pool(given.out, given.table, given.figure, given.control)


if __name__ == "__main__":
    main()
