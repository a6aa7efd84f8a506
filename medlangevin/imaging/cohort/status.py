"""What is done in an output folder: ``status.json`` of a whole run, and ``parts/`` while a run or its shards work.

There is one part for each person, written when the person is done. So any number of processes can write at the same
time, and a killed one loses only the person that it worked on. Parts become ``status.json`` at the end and are removed.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.outcome_record import PSEUDONYM, read_outcome, require_rows
from medlangevin.imaging.cohort.person import Outcome, Person
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, reading, write_json

STATUS = "status.json"
PARTS = "parts"
LOCK = "lock"
_PLAN = "plan.json"
# Codes of failures that may not come again: memory that another program took, an error mended by an update.
RETRIED_CODES = {"killed", "overdue", "internal"}


class Shard(NamedTuple):
    """A share of the persons of a cohort: ``number`` (from 1) ``of`` so many."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Plan(NamedTuple):
    """What all shards of a run have in common.

    Attributes:
        shards: How many there are.
        persons: Pseudonym of every person, and a hash of the person's files and the settings.
        failures: Rows of failures.tsv for series that belong to no person.
        excluded: Pseudonyms and series hashes that the user leaves out.
    """

    shards: int
    persons: dict[str, str]
    failures: list[dict[str, str]]
    excluded: Sequence[str] = ()


def parse_shard(text: str) -> Shard:
    """Read a shard from its number and how many there are.

    Args:
        text: As in ``3/20``, the third of twenty.

    Returns:
        The shard.

    Raises:
        MedlangevinError: The text is not of this form, or the number is not from 1 to the count.
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.of:
        raise MedlangevinError(f"shard {text!r} is not K/N; give its number and how many there are, as in 3/20")
    return shard


def shard_of(subject: str, count: int) -> Shard:
    """The shard that a person belongs to; it stays the same when other people are added or taken away.

    Args:
        subject: Pseudonym of the person.
        count: How many shards there are.

    Returns:
        The shard.
    """
    # Not the digits of the pseudonym themselves: the split into training and test data follows their order.
    digest = hashlib.sha256(f"shard\0{subject}".encode()).digest()
    return Shard(int.from_bytes(digest[:8]) % count + 1, count)


def is_output_folder(out: Path) -> bool:
    """Whether preprocess has written to a folder before.

    Args:
        out: The folder, which need not exist.

    Returns:
        Whether it holds ``status.json``, ``parts/`` or ``crops/``.
    """
    return (out / STATUS).is_file() or (out / PARTS).is_dir() or (out / "crops").is_dir()


def files_of_ear(out: Path, subject: str, side: str) -> list[Path]:
    """The files that an ear may have.

    Args:
        out: The output folder.
        subject: Pseudonym of the person.
        side: L or R.

    Returns:
        Sidecar, crop and picture, and last the picture of an ear that failed.
    """
    crop, failed = ear_name(subject, side), ear_name(subject, side, failed=True)
    names = (f"crops/{crop}.json", f"crops/{crop}.nii.gz", f"qc/{crop}.png", f"qc/{failed}.png")
    return [out / name for name in names]


def finished(out: Path, persons: dict[str, str]) -> dict[str, Outcome]:
    """What earlier runs did that still holds: the same files and settings, and every output there.

    Persons of whom a failure may not come again (``RETRIED_CODES``) are left out.

    Args:
        out: The output folder.
        persons: Pseudonyms, and the hashes of files and settings of today.

    Returns:
        Outcomes by pseudonym.

    Raises:
        MedlangevinError: A record is damaged.
    """
    done = {}
    saved, parts = _saved_persons(out), [_part(out, subject) for subject in persons]
    records = [(out / STATUS, saved[subject]) for subject in persons if subject in saved]
    for file, record in records + [(part, read_json(part)) for part in parts if part.is_file()]:
        with reading(file, "delete it, and its ears are made again"):
            outcome = read_outcome(record)
            retried = any(row["code"] in RETRIED_CODES for row in outcome.failures)
            if outcome.inputs == persons[outcome.subject] and _is_whole(out, outcome) and not retried:
                done[outcome.subject] = outcome
    return done


def recorded_subjects(out: Path) -> set[str]:
    """The pseudonyms of all persons in ``status.json`` or in a part.

    Names only, as the records may be of another version whose fields differ. A damaged record could name any file: so
    what is not a pseudonym is left out.

    Args:
        out: The output folder.

    Returns:
        The pseudonyms.

    Raises:
        MedlangevinError: ``status.json`` is damaged.
    """
    names = set(_saved_persons(out))
    names |= {part.stem.removeprefix("sub-") for part in (out / PARTS).glob("sub-*.json")}
    return {name for name in names if PSEUDONYM.fullmatch(name)}


def recorded_outcomes(out: Path) -> dict[str, Outcome]:
    """What earlier runs did and whose every output is there, whatever has become of the scans.

    Records of another version, whose fields differ, are left out.

    Args:
        out: The output folder.

    Returns:
        Outcomes by pseudonym.

    Raises:
        MedlangevinError: ``status.json`` or a part is not JSON.
    """
    records = _saved_persons(out)
    parts = (out / PARTS).glob("sub-*.json")
    records |= {part.stem.removeprefix("sub-"): read_json(part) for part in parts}
    whole = {}
    for subject, record in records.items():
        with suppress(KeyError, TypeError, ValueError):
            outcome = read_outcome(record)
            if outcome.subject == subject and _is_whole(out, outcome):
                whole[subject] = outcome
    return whole


def with_recorded_inputs(out: Path, persons: Sequence[Person]) -> list[Person]:
    """Let earlier work count though files have changed: only while some of them cannot be opened.

    A person of whom one slice cannot be opened would lose ears that are done.

    Args:
        out: The output folder.
        persons: Everybody, with the hashes of the files that can be opened.

    Returns:
        The same; whoever has crops of the same settings gets the hash of their record.
    """
    recorded = recorded_outcomes(out)
    kept = {person.subject for person in persons if _of_same_settings(out, person, recorded.get(person.subject))}
    return [
        replace(person, inputs=recorded[person.subject].inputs) if person.subject in kept else person
        for person in persons
    ]


def _of_same_settings(out: Path, person: Person, outcome: Outcome | None) -> bool:
    sidecars = [files_of_ear(out, person.subject, ear["side"])[0] for ear in outcome.ears] if outcome else []
    made = [read_json(sidecar) for sidecar in sidecars]
    return bool(made) and all(person.provenance.items() <= told.items() for told in made)


def save_part(out: Path, outcome: Outcome) -> None:
    """Record that a person is done.

    Args:
        out: The output folder.
        outcome: What became of the person.
    """
    write_json(_part(out, outcome.subject), asdict(outcome))


def save_plan(out: Path, plan: Plan) -> None:
    """Write what merging needs to know; every shard of a run writes the same.

    Args:
        out: The output folder.
        plan: What the shards have in common.
    """
    write_json(out / PARTS / _PLAN, plan._asdict())


def load_plan(out: Path) -> Plan | None:
    """What the shards of the last run had to do.

    Args:
        out: The output folder.

    Returns:
        The plan; None where no shard has run since the last whole run or merge.

    Raises:
        MedlangevinError: The plan is damaged.
    """
    file = out / PARTS / _PLAN
    if not file.is_file():
        return None
    with reading(file, "run one of the shards again"):
        plan = Plan(**read_json(file))
        require_rows(plan.failures)
        _require_hashes(plan.excluded)
        if not isinstance(plan.shards, int) or not all(map(PSEUDONYM.fullmatch, plan.persons)):
            raise ValueError("not a plan")
    return plan


class Status(NamedTuple):
    """What ``status.json`` holds.

    Attributes:
        persons: What became of each person, by pseudonym.
        failures: Rows of failures.tsv for series that belong to no person.
        excluded: Pseudonyms and series hashes that the user leaves out.
    """

    persons: dict[str, Outcome]
    failures: list[dict[str, str]]
    excluded: Sequence[str] = ()


def save_status(out: Path, status: Status) -> None:
    """Write ``status.json``.

    Args:
        out: The output folder.
        status: What it holds.
    """
    persons = {name: asdict(status.persons[name]) for name in sorted(status.persons)}
    excluded = sorted(status.excluded)
    write_json(out / STATUS, {"persons": persons, "failures": status.failures, "excluded": excluded})


def load_status(out: Path) -> Status | None:
    """Read what ``save_status`` wrote.

    Args:
        out: The output folder.

    Returns:
        What it holds; None where there is no such file.

    Raises:
        MedlangevinError: The file is damaged.
    """
    file = out / STATUS
    if not file.is_file():
        return None
    saved = read_json(file)
    with reading(file, "run preprocess with --raw again"):
        persons = {name: read_outcome(record) for name, record in saved["persons"].items()}
        return Status(persons, require_rows(saved["failures"]), _require_hashes(saved.get("excluded", [])))


def recorded_exclusions(out: Path) -> frozenset[str]:
    """What the last run was told to leave out.

    Args:
        out: The output folder.

    Returns:
        Pseudonyms and series hashes.

    Raises:
        MedlangevinError: The record is damaged.
    """
    plan = load_plan(out)
    if plan is not None:
        return frozenset(plan.excluded)
    file = out / STATUS
    saved = read_json(file) if file.is_file() else {}
    with reading(file, "delete it, and its ears are made again"):
        return frozenset(_require_hashes(saved.get("excluded", [])))


def _require_hashes(hashes: Any) -> list[str]:
    if not isinstance(hashes, list | tuple) or not all(isinstance(item, str) for item in hashes):
        raise ValueError("no hashes")
    return list(hashes)


def _saved_persons(out: Path) -> dict[str, Any]:
    """The records in ``status.json`` by pseudonym, as they are there; none without the file."""
    file = out / STATUS
    saved = read_json(file) if file.is_file() else {"persons": {}}
    with reading(file, "delete it, and its ears are made again"):
        return dict(saved["persons"].items())


def _is_whole(out: Path, outcome: Outcome) -> bool:
    """Whether every file of a person is there and the crops are byte for byte what was written."""
    for ear in outcome.ears:
        sidecar, crop, picture, _ = files_of_ear(out, outcome.subject, ear["side"])
        there = all(file.is_file() for file in (sidecar, crop, picture))
        if not there or hashlib.sha256(crop.read_bytes()).hexdigest() != ear["sha256"]:
            return False
    return all(files_of_ear(out, outcome.subject, ear["side"])[-1].is_file() for ear in outcome.failed)


def _part(out: Path, subject: str) -> Path:
    return out / PARTS / f"sub-{subject}.json"
