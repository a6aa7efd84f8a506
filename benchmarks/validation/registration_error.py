"""Registration error of a preprocessed folder against exact truth, in mm.

    python benchmarks/validation/registration_error.py --truth TRUTH --out PREPROCESSED

TRUTH holds a JSON file per scan: series_instance_uid and, per ear, side, T_canonical_to_lps, cochlea_points_lps (points
that correspond between ears). The target registration error of an ear is the mean distance, over its points, from where
the registration puts them in the reference frame to the mean position of the same points over the other ears. Columns:

raw          as registered
offset       after one rigid motion common to all ears (the reference is another mean ear than the truth's), estimated
             from the other ears only
best rigid   the least any rigid motion of this ear can reach: the rest is shape
canonical    the truth's own frame: best fit of the whole labyrinth; "cochlea": best fit of the cochlea only
pose         distance to the truth's own frame alone, after the offset: no shape in it
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medlangevin.imaging.cohort.deidentify import default_key_file, load_key, series_hash
from medlangevin.phantom.frame import apply, kabsch

COLUMNS = ("raw", "offset", "best rigid", "canonical", "cochlea", "pose")


class RegisteredEar(NamedTuple):
    name: str
    registered: np.ndarray  # (points, 3) in our reference frame
    canonical: np.ndarray  # in the truth's frame, fitted to the labyrinth
    cochlea: np.ndarray  # in the truth's frame, fitted to the cochlea
    sidecar: dict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder that medlangevin preprocess wrote")
    parser.add_argument("--key", type=Path, help="key file [default: OUT.key]")
    arguments = parser.parse_args()
    key = load_key(arguments.key or default_key_file(arguments.out))
    if key is None:
        parser.error("no key file; give the one of the preprocess run with --key")
    single, both, missing, wrong = read_ears(arguments.truth, arguments.out, key)
    ears = single + both
    for ear, row in zip(ears, errors(single, ears), strict=True):
        figures = "  ".join(f"{name} {value:.2f}" for name, value in zip(COLUMNS, row, strict=True))
        print(f"{ear.name:<8} ncc {ear.sidecar['ncc']:.3f}  {ear.sidecar['verdict']:<6}  {figures}")
    table = errors(single, single)
    print(f"\none-ear scans: {len(single)} ears; scans with both ears: {len(both)} ears")
    print(f"ears without a crop: {missing or 'none'}; crops on a wrong side: {wrong or 'none'}")
    print("           " + "".join(f"{name:>12}" for name in COLUMNS))
    for name, row in (("median", np.median(table, axis=0)), ("worst", table.max(axis=0))):
        print(f"{name:<11}" + "".join(f"{value:12.3f}" for value in row))


def read_ears(
    truth: Path, out: Path, key: bytes
) -> tuple[list[RegisteredEar], list[RegisteredEar], list[str], list[str]]:
    """Ears of one-ear scans, ears of the others, names of missing ears, names of crops with a wrong side."""
    found: dict[tuple[str, str], dict] = {}
    for path in sorted((out / "crops").glob("*.json")):
        sidecar = json.loads(path.read_text())
        found[sidecar["series"], sidecar["side"]] = sidecar
    single: list[RegisteredEar] = []
    both: list[RegisteredEar] = []
    missing, wrong = [], []
    for path in sorted(truth.glob("*.json")):
        scan = json.loads(path.read_text())
        study = series_hash(key, scan["series_instance_uid"])
        sides = {ear["side"] for ear in scan["ears"]}
        wrong += [f"{scan['scan']} {side}" for side in ("L", "R") if side not in sides and (study, side) in found]
        for ear in scan["ears"]:
            sidecar = found.get((study, ear["side"]))
            name = f"{scan['scan']} {ear['side']}"
            if sidecar is None:
                missing.append(name)
                continue
            (single if len(scan["ears"]) == 1 else both).append(_ear(name, ear, sidecar))
    return single, both, missing, wrong


def _ear(name: str, ear: dict, sidecar: dict) -> RegisteredEar:
    points = np.array(ear["cochlea_points_lps"])
    mirror = np.diag([-1.0 if ear["side"] == "L" else 1.0, 1.0, 1.0, 1.0])
    frames = (np.array(ear[f"T_canonical_to_lps{suffix}"]) @ mirror for suffix in ("", "_cochlea_only"))
    canonical, cochlea = (_inverse(frame, points) for frame in frames)
    registered = _inverse(np.array(sidecar["reference_to_scan_lps"]), points)
    return RegisteredEar(name, registered, canonical, cochlea, sidecar)


def errors(cohort: list[RegisteredEar], ears: list[RegisteredEar]) -> np.ndarray:
    """(ears, COLUMNS) mean distances in mm; means and offset come from the cohort without the ear itself."""
    rows = []
    for ear in ears:
        others = [other for other in cohort if other is not ear]
        mean = np.mean([other.canonical for other in others], axis=0)
        cochlea_mean = np.mean([other.cochlea for other in others], axis=0)
        # Medians: one lost ear must not move the offset.
        offset = kabsch(np.median([other.registered for other in others], axis=0), mean)
        shifted = apply(offset, ear.registered)
        rows.append(
            [
                _distance(ear.registered, mean),
                _distance(shifted, mean),
                _distance(apply(kabsch(ear.registered, mean), ear.registered), mean),
                _distance(ear.canonical, mean),
                _distance(ear.cochlea, cochlea_mean),
                _distance(shifted, ear.canonical),
            ]
        )
    return np.array(rows)


def _inverse(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    return apply(np.linalg.inv(frame), points)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second, axis=1).mean())


if __name__ == "__main__":
    main()
