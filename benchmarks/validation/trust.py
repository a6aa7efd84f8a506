"""How far the verdicts can be trusted: ok, review, failed, on a set to choose thresholds on and another to test them.

    python benchmarks/validation/trust.py --simulated SIMULATED_EARS [--method correlation]

Both sets hold good scans and hard ones (noise, thick slices, blur, turns, metal) and scans of which no crop may be
made: inner ear or cochlea painted over, cut through the cochlea, another field of view, inverted contrast. The first is
the digital phantom's (thresholds were chosen on it), the second the folder's (dicom/, truth/). A fit is wrong when it
lies more than 1 mm from the truth (mean over points of the cochlea), is of the wrong side, or where no ear is. Its
verdict should not be ok: the rate of those that are is given with the exact upper bound at 95 % (Clopper and Pearson).
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import beta
from trust_cases import KINDS, Case, Truth, phantom_cases, simulated_cases

from medlangevin.imaging.cohort.preprocess import single_threaded
from medlangevin.imaging.registration.find_ears import FoundEar, find_ears
from medlangevin.imaging.registration.quality import cut_off, judge
from medlangevin.imaging.registration.reference import load_reference
from medlangevin.imaging.registration.register import Fit, Matcher

WRONG_MM = 1.0
# The others are the best of nothing, and easily told.
SERIOUS_NCC = 0.25
WORDS = ("ok", "review", "failed")
FIGURES = (
    "ncc",
    "coil_ncc",
    "coil_weakest_ncc",
    "mirror_margin",
    "runner_up_margin",
    "agreement_mm",
    "residual_mm",
    "coverage",
    "step_ratio",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", type=Path, help="folder of the test set: dicom/ and truth/")
    parser.add_argument("--per-kind", type=int, default=4, help="cases of each kind in each set")
    parser.add_argument("--method", choices=("block", "correlation"), default="block")
    parser.add_argument("--cache", type=Path, help="folder that keeps the fits, to judge them anew")
    arguments = parser.parse_args()
    single_threaded()
    sets = {"phantom (thresholds chosen here)": phantom_cases(arguments.per_kind, 2024)}
    if arguments.simulated:
        sets["simulated from real surfaces (test)"] = simulated_cases(arguments.simulated, arguments.per_kind, 7)
    for title, cases in sets.items():
        cache = arguments.cache / f"{title.split()[0]}-{arguments.method}.jsonl" if arguments.cache else None
        report(title, list(fits(cases, arguments.method, cache)))


def fits(cases: Iterator[Case], method: Literal["block", "correlation"], cache: Path | None) -> Iterator[dict]:
    """One record for each case: the ears that should be found and the figures of each fit."""
    known = [json.loads(line) for line in cache.read_text().splitlines()] if cache and cache.is_file() else []
    if known:
        yield from known
        return
    matcher = Matcher(load_reference(), method=method)
    records = []
    for case in cases:
        found = [_figures(ear, case) for ear in find_ears(case.scan, matcher)]
        records.append({"name": case.name, "kind": case.kind, "ears": len(case.ears), "fits": found})
        yield records[-1]
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text("".join(json.dumps(record) + "\n" for record in records))


def _figures(ear: FoundEar, case: Case) -> dict:
    fit, values = ear.fit, ear.figures.values
    errors = [_error_mm(fit, truth) for truth in case.ears if truth.mirrored is fit.mirrored]
    return {
        **values,
        "cut": ear.verdict.code == "cut-off",
        "mirror_margin": fit.ncc - values["mirror_ncc"],
        "runner_up_margin": fit.ncc - fit.runner_up_ncc,
        "error_mm": min(errors, default=float("inf")),
    }


def _error_mm(fit: Fit, truth: Truth) -> float:
    home = np.linalg.solve(truth.matrix, np.c_[truth.points, np.ones(len(truth.points))].T)
    return float(np.linalg.norm((fit.matrix @ home)[:3].T - truth.points, axis=1).mean())


def verdict(figures: dict) -> tuple[str, str]:
    """The word and the code that the figures get today."""
    judged = cut_off(figures["coverage"]) if figures["cut"] else judge(figures)
    return judged.word, judged.code


def report(title: str, records: list[dict]) -> None:
    """Print counts by kind, the false-ok rate, and how the figures of right and wrong fits lie."""
    all_fits = [(record["kind"], fit) for record in records for fit in record["fits"]]
    right = [(kind, fit) for kind, fit in all_fits if fit["error_mm"] <= WRONG_MM]
    wrong = [(kind, fit) for kind, fit in all_fits if fit["error_mm"] > WRONG_MM]
    print(f"\n{title}: {len(records)} scans, {sum(record['ears'] for record in records)} ears that can be cropped")
    print(f"{'kind':<12} {'ears':>5}   right fits: {'ok':>4} {'review':>7} {'failed':>7}   wrong fits: (the same)")
    for kind in dict.fromkeys([*KINDS, *(record["kind"] for record in records)]):
        ears = sum(record["ears"] for record in records if record["kind"] == kind)
        rows = [_counts([fit for name, fit in group if name == kind]) for group in (right, wrong)]
        print(f"{kind:<12} {ears:>5}   " + "   ".join(f"{'':>11} {a:>4} {b:>7} {c:>7}" for a, b, c in rows))
    for name, group in (("right", right), ("wrong", wrong)):
        ok, review, failed = _counts([fit for _, fit in group])
        codes = Counter(verdict(fit)[1] for _, fit in group)
        print(f"{name} fits: {ok} ok, {review} review, {failed} failed; codes {dict(codes.most_common())}")
    bad = _counts([fit for _, fit in wrong])[0]
    serious = [fit for _, fit in wrong if fit["ncc"] >= SERIOUS_NCC]
    for what, count in (
        ("all wrong fits", len(wrong)),
        (f"wrong fits of correlation {SERIOUS_NCC} or more", len(serious)),
    ):
        if count:
            print(
                f"false ok among {what}: {bad} of {count}, "
                f"{100 * bad / count:.1f} % (at most {bound(bad, count):.1f} %)"
            )
    accepted = bad + _counts([fit for _, fit in right])[0]
    if accepted:
        print(f"wrong among the ok: {bad} of {accepted} (at most {bound(bad, accepted):.1f} %)")
    print(f"{'figure':<18} {'right: least, 5 %, median, 95 %, most':<44} wrong: the same")
    for figure in FIGURES:
        print(f"{figure:<18} {_spread(right, figure):<44} {_spread(wrong, figure)}")


def bound(count: int, total: int) -> float:
    """The exact one-sided upper bound of a rate at 95 %, in per cent."""
    return 100.0 if count == total else 100 * float(beta.ppf(0.95, count + 1, total - count))


def _counts(group: list[dict]) -> tuple[int, ...]:
    words = Counter(verdict(fit)[0] for fit in group)
    return tuple(words[word] for word in WORDS)


def _spread(group: list[tuple[str, dict]], figure: str) -> str:
    values = np.array([fit[figure] for _, fit in group], dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    # "higher" picks a value that is there: an infinite one has no neighbours to average with.
    return " ".join(f"{value:8.2f}" for value in np.quantile(values, (0, 0.05, 0.5, 0.95, 1), method="higher"))


if __name__ == "__main__":
    main()
