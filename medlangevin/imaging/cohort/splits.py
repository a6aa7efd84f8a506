"""Who is for training, validation and test: exact shares of the people, and nobody moves once it is written."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from medlangevin.datasets.datalist import SPLITS
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

PARTICIPANTS = "participants.tsv"
DATASET = "dataset.json"
SHARES_PERCENT = {"training": 70, "validation": 15, "test": 15}
FEWEST = 3  # people in validation and in test, in a cohort that can spare them


def split_counts(people: int) -> dict[str, int]:
    """How many people each split has.

    The shares are rounded by largest remainders. Validation and test then get at least 3 people from 12 people on; in a
    smaller cohort validation gets at least a quarter of the people and one more, ``(people + 1) // 4``, and test a
    quarter, ``people // 4``. No count falls when people are added.

    Args:
        people: How many people there are.

    Returns:
        The count of ``training``, ``validation`` and ``test``; they add up to ``people``.
    """
    counts = {name: share * people // 100 for name, share in SHARES_PERCENT.items()}
    remainders = {name: share * people % 100 for name, share in SHARES_PERCENT.items()}
    for name in sorted(SPLITS, key=lambda name: -remainders[name])[: people - sum(counts.values())]:
        counts[name] += 1
    validation = max(counts["validation"], min(FEWEST, (people + 1) // 4))
    test = max(counts["test"], min(FEWEST, people // 4))
    return {"training": people - validation - test, "validation": validation, "test": test}


def split_by_person(subjects: Iterable[str], recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """Split people into training, validation and test data, with the counts of ``split_counts``.

    Who is on record stays. The others, in the order of their pseudonyms, go to the split that is furthest below its
    count. The pseudonyms are random, so the order is.

    Args:
        subjects: Pseudonyms; repeated ones count once.
        recorded: The split of each person who has one already; nobody by default.

    Returns:
        ``training``, ``validation`` or ``test`` for each pseudonym in ``subjects``.
    """
    people = sorted(set(subjects))
    splits = {name: recorded[name] for name in people if name in recorded} if recorded else {}
    wanted = split_counts(len(people))
    present = Counter(splits.values())
    for person in people:
        if person not in splits:
            short = [name for name in SPLITS if present[name] < wanted[name]]
            splits[person] = min(short, key=lambda name: present[name] / wanted[name])
            present[splits[person]] += 1
    return splits


def recorded_splits(out: Path) -> dict[str, str]:
    """The split of everybody in ``participants.tsv`` or ``dataset.json``; where they differ, that of ``dataset.json``.

    Args:
        out: The output folder.

    Returns:
        ``training``, ``validation`` or ``test`` by pseudonym; empty in a new folder.

    Raises:
        MedlangevinError: One of the files is damaged, or one person is in two splits.
    """
    splits: dict[str, str] = {}
    for file, read in ((out / PARTICIPANTS, _participants), (out / DATASET, _datalist)):
        try:
            splits |= read(file) if file.is_file() else {}
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise MedlangevinError(
                f"{file} is damaged, and it says who is in which split; restore it from a copy, or delete it"
            ) from error
    return splits


def _participants(file: Path) -> dict[str, str]:
    header, *rows = (line.split("\t") for line in file.read_text(encoding="utf-8-sig").splitlines())
    person, split = header.index("participant_id"), header.index("split")
    splits = {row[person].removeprefix("sub-"): row[split] for row in rows}
    if not set(splits.values()) <= set(SPLITS):
        raise ValueError("no such split")
    return splits


def _datalist(file: Path) -> dict[str, str]:
    listed = read_json(file)
    splits: dict[str, str] = {}
    for name in SPLITS:
        for entry in listed.get(name, []):
            if splits.setdefault(entry["subject"], name) != name:
                both = f"subject {entry['subject']} is in both {splits[entry['subject']]} and {name}"
                raise MedlangevinError(f"{file}: {both}; split by person, not by ear")
    return splits
