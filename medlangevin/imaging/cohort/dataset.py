"""The index files of an output folder: dataset.json, participants.tsv, failures.tsv and qc/index.html."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.qc_page import page
from medlangevin.imaging.cohort.splits import DATASET, PARTICIPANTS, split_by_person
from medlangevin.system.files import write_json, write_text, write_tsv

FAILURE_COLUMNS = ("study", "subject", "code", "reason", "what_to_do")
DESCRIPTION = (
    "Cochlea crops, 60 x 50 x 50 voxels of 0.2 mm, int16 HU, in the reference frame; left ears mirrored to right"
)


def write_index_files(
    out: Path,
    outcomes: list[Outcome],
    other_failures: list[dict[str, str]],
    recorded: Mapping[str, str],
    *,
    keep_absent: bool = False,
) -> None:
    """Write all index files of an output folder. Doing it again gives the same files, in a fixed order.

    Args:
        out: The output folder.
        outcomes: What became of each person.
        other_failures: Rows of failures.tsv for series that belong to no person.
        recorded: The split of each person who has one already, and keeps it also without a usable ear.
        keep_absent: Whether people in ``recorded`` who are not in ``outcomes`` stay in participants.tsv.
    """
    outcomes = sorted(outcomes, key=lambda item: item.subject)
    ears = [ear for outcome in outcomes for ear in outcome.ears]
    failures = [{**row, "subject": outcome.subject} for outcome in outcomes for row in outcome.failures]
    failures += [{**row, "subject": ""} for row in other_failures]
    write_tsv(out / "failures.tsv", [FAILURE_COLUMNS, *([row[name] for name in FAILURE_COLUMNS] for row in failures)])
    write_text(out / "qc" / "index.html", page(outcomes, other_failures))
    splits = split_by_person((ear["subject"] for ear in ears), recorded)
    sides = {outcome.subject: "".join(sorted(ear["side"] for ear in outcome.ears)) for outcome in outcomes}
    known = {name: split for name, split in recorded.items() if keep_absent or name in sides} | splits
    rows = [(f"sub-{name}", sides.get(name) or "n/a", known[name]) for name in sorted(known)]
    # Before dataset.json: whoever is killed between the two finds everybody's split in this one.
    write_tsv(out / PARTICIPANTS, [("participant_id", "sides", "split"), *rows])
    entries: dict[str, Any] = {"description": DESCRIPTION, "training": [], "validation": [], "test": []}
    for ear in ears:
        split = splits[ear["subject"]]
        image = f"crops/{ear_name(ear['subject'], ear['side'])}.nii.gz"
        entries[split].append({"image": image, "subject": ear["subject"], "side": ear["side"], "split": split})
    write_json(out / DATASET, entries)
