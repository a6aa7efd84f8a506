"""The index files of an output folder: dataset.json, participants.tsv, failures.tsv and qc/index.html."""

import hashlib
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.qc_page import page
from medlangevin.system.files import write_json, write_text

SHARES = {"test": 0.15, "validation": 0.15}
FEWEST_PEOPLE = 3
DESCRIPTION = (
    "Cochlea crops, 60 x 50 x 50 voxels of 0.2 mm, int16 HU, in the reference frame; left ears mirrored to right"
)


def split_by_person(subjects: list[str]) -> dict[str, str]:
    """``training``, ``validation`` or ``test`` for each person, from a hash of the pseudonym alone.

    So nobody changes the split when people are added, and no run is tested on people it was trained on. The
    exceptions are small cohorts: fewer than three people all train, and otherwise no split stays empty.
    """
    place = {name: int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12 for name in subjects}
    ordered = sorted(place, key=lambda name: place[name])
    if len(ordered) < FEWEST_PEOPLE:
        return dict.fromkeys(ordered, "training")
    test, held_out = SHARES["test"], sum(SHARES.values())
    splits = {
        name: "test" if place[name] < test else "validation" if place[name] < held_out else "training"
        for name in ordered
    }
    splits[ordered[0]] = "test"
    splits[ordered[-1]] = "training"
    if "validation" not in splits.values():
        splits[next((name for name in ordered[1:-1] if splits[name] == "training"), ordered[1])] = "validation"
    return splits


def write_index_files(out: Path, outcomes: list[Outcome], other_failures: list[dict[str, str]]) -> None:
    """Write all index files of ``out`` from what became of each person. Idempotent, in a fixed order."""
    outcomes = sorted(outcomes, key=lambda item: item.subject)
    ears = [ear for outcome in outcomes for ear in outcome.ears]
    splits = split_by_person([ear["subject"] for ear in ears])
    _write_failures(out, outcomes, other_failures)
    write_text(out / "qc" / "index.html", page(outcomes, other_failures))
    lines = ["participant_id\tsides\tsplit"]
    for outcome in outcomes:
        if outcome.ears:
            sides = "".join(sorted(ear["side"] for ear in outcome.ears))
            lines.append(f"sub-{outcome.subject}\t{sides}\t{splits[outcome.subject]}")
    write_text(out / "participants.tsv", "\n".join(lines) + "\n")
    entries: dict[str, Any] = {"description": DESCRIPTION, "training": [], "validation": [], "test": []}
    for ear in ears:
        split = splits[ear["subject"]]
        image = f"crops/{ear_name(ear['subject'], ear['side'])}.nii.gz"
        entries[split].append({"image": image, "subject": ear["subject"], "side": ear["side"], "split": split})
    write_json(out / "dataset.json", entries)


def _write_failures(out: Path, outcomes: list[Outcome], other: list[dict[str, str]]) -> None:
    rows = [(outcome.subject, item) for outcome in outcomes for item in outcome.failures] + [("", row) for row in other]
    lines = ["study\tsubject\tcode\treason\twhat_to_do"]
    lines += [f"{row['study']}\t{name}\t{row['code']}\t{row['reason']}\t{row['what_to_do']}" for name, row in rows]
    write_text(out / "failures.tsv", "\n".join(lines) + "\n")
