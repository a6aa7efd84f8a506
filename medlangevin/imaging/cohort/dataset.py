"""The index files of an output folder: dataset.json, participants.tsv, failures.tsv and qc/index.html."""

import hashlib
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.qc_page import page
from medlangevin.system.files import write_json, write_text, write_tsv

SPLIT_SHARES = {"test": 0.15, "validation": 0.15}
FEWEST_PEOPLE = 3
FAILURE_COLUMNS = ("study", "subject", "code", "reason", "what_to_do")
DESCRIPTION = (
    "Cochlea crops, 60 x 50 x 50 voxels of 0.2 mm, int16 HU, in the reference frame; left ears mirrored to right"
)


def split_by_person(subjects: list[str]) -> dict[str, str]:
    """Split people into training, validation and test data, by a hash of the pseudonym alone.

    So the split of a person does not change when people are added, and no run is tested on people it was trained on.
    The exceptions are small cohorts: fewer than three people are all for training, and otherwise no split stays empty.

    Args:
        subjects: Pseudonyms; repeated ones count once.

    Returns:
        ``training``, ``validation`` or ``test`` for each pseudonym.
    """
    place = {name: int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12 for name in subjects}
    ordered = sorted(place, key=lambda name: place[name])
    if len(ordered) < FEWEST_PEOPLE:
        return dict.fromkeys(ordered, "training")
    test, held_out = SPLIT_SHARES["test"], sum(SPLIT_SHARES.values())
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
    """Write all index files of an output folder. Doing it again gives the same files, in a fixed order.

    Args:
        out: The output folder.
        outcomes: What became of each person.
        other_failures: Rows of failures.tsv for series that belong to no person.
    """
    outcomes = sorted(outcomes, key=lambda item: item.subject)
    ears = [ear for outcome in outcomes for ear in outcome.ears]
    splits = split_by_person([ear["subject"] for ear in ears])
    failures = [{**row, "subject": outcome.subject} for outcome in outcomes for row in outcome.failures]
    failures += [{**row, "subject": ""} for row in other_failures]
    write_tsv(out / "failures.tsv", [FAILURE_COLUMNS, *([row[name] for name in FAILURE_COLUMNS] for row in failures)])
    write_text(out / "qc" / "index.html", page(outcomes, other_failures))
    sides = {outcome.subject: "".join(sorted(ear["side"] for ear in outcome.ears)) for outcome in outcomes}
    rows = [(f"sub-{subject}", found, splits[subject]) for subject, found in sides.items() if found]
    write_tsv(out / "participants.tsv", [("participant_id", "sides", "split"), *rows])
    entries: dict[str, Any] = {"description": DESCRIPTION, "training": [], "validation": [], "test": []}
    for ear in ears:
        split = splits[ear["subject"]]
        image = f"crops/{ear_name(ear['subject'], ear['side'])}.nii.gz"
        entries[split].append({"image": image, "subject": ear["subject"], "side": ear["side"], "split": split})
    write_json(out / "dataset.json", entries)
