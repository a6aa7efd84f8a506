"""What is done in an output folder: ``status.json`` of a whole run, and ``parts/`` while a run or its shards are at it.

One part a person, written when the person is done, so that any number of processes can write at the same time and a
killed one loses only what it was at. Parts become ``status.json`` at the end and are removed.
"""

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.imaging.cohort.ear_files import ear_name, failed_name
from medlangevin.imaging.cohort.outcome_record import PSEUDONYM, read_outcome, require_rows
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, sweep, write_json

STATUS = "status.json"
PARTS = "parts"
LOCK = "lock"
_PLAN = "plan.json"
DAMAGE = (AttributeError, KeyError, TypeError, ValueError)
# Such a failure may not come again: memory that another program took, an error mended by an update.
WORTH_ANOTHER_TRY = {"killed", "overdue", "internal"}


class Plan(NamedTuple):
    """What all shards of a run have in common. ``persons``: their inputs; ``failures``: of series of no person."""

    shards: int
    persons: dict[str, str]
    failures: list[dict[str, str]]


def is_ours(out: Path) -> bool:
    """Whether preprocess has written to the folder before."""
    return (out / STATUS).is_file() or (out / PARTS).is_dir() or (out / "crops").is_dir()


def finished(out: Path, persons: dict[str, str]) -> dict[str, Outcome]:
    """What earlier runs did that still holds: the same inputs and settings, and every file there.

    ``persons``: pseudonym and inputs. Raises MedlangevinError when the records are damaged.
    """
    done = {}
    for file, record in _records(out, persons):
        try:
            outcome = read_outcome(record)
            if record["inputs"] == persons[record["subject"]] and _is_whole(out, record) and not _worth_a_try(record):
                done[record["subject"]] = outcome
        except DAMAGE as error:
            raise MedlangevinError(f"{file} is damaged; delete it, and its ears are made again") from error
    return done


def _records(out: Path, persons: Iterable[str]) -> Iterator[tuple[Path, Any]]:
    saved = _saved_persons(out)
    yield from ((out / STATUS, saved[subject]) for subject in persons if subject in saved)
    if (out / PARTS).is_dir():
        for subject in persons:
            part = _part(out, subject)
            if part.is_file():
                yield part, read_json(part)


def _saved_persons(out: Path) -> dict[str, Any]:
    """The records in ``status.json`` by pseudonym, as they are there; none without the file."""
    file = out / STATUS
    saved = read_json(file) if file.is_file() else {"persons": {}}
    if not isinstance(saved, dict) or not isinstance(saved.get("persons"), dict):
        raise MedlangevinError(f"{file} is damaged; delete it, and its ears are made again")
    persons: dict[str, Any] = saved["persons"]
    return persons


def _is_whole(out: Path, record: dict[str, Any]) -> bool:
    """Whether every file of a person is there and the crops are byte for byte what was written."""
    for ear in record["ears"]:
        sidecar, crop, picture, _ = _files_of(out, record["subject"], ear["side"])
        if not all(file.is_file() for file in (sidecar, crop, picture)):
            return False
        if hashlib.sha256(crop.read_bytes()).hexdigest() != ear["sha256"]:
            return False
    return all(_files_of(out, record["subject"], ear["side"])[-1].is_file() for ear in record["failed"])


def _worth_a_try(record: dict[str, Any]) -> bool:
    return any(row["code"] in WORTH_ANOTHER_TRY for row in record["failures"])


def save_part(out: Path, outcome: Outcome) -> None:
    """Record that a person is done."""
    write_json(_part(out, outcome.subject), asdict(outcome))


def save_plan(out: Path, plan: Plan) -> None:
    """Write what merging needs to know; every shard of a run writes the same."""
    write_json(out / PARTS / _PLAN, plan._asdict())


def load_plan(out: Path) -> Plan | None:
    """What the shards of the last run had to do; None where none has run since the last whole run or merge."""
    file = out / PARTS / _PLAN
    if not file.is_file():
        return None
    try:
        plan = Plan(**read_json(file))
        require_rows(plan.failures)
        if not isinstance(plan.shards, int) or not all(map(PSEUDONYM.fullmatch, plan.persons)):
            raise ValueError("no plan")
    except DAMAGE as error:
        raise MedlangevinError(f"{file} is damaged; run one of the shards again") from error
    return plan


def save_status(out: Path, outcomes: dict[str, Outcome], failures: list[dict[str, str]]) -> None:
    """Write ``status.json``: the outcomes by pseudonym, and the failures of series that belong to no person."""
    persons = {name: asdict(outcomes[name]) for name in sorted(outcomes)}
    write_json(out / STATUS, {"persons": persons, "failures": failures})


def load_status(out: Path) -> tuple[dict[str, Outcome], list[dict[str, str]]] | None:
    """What ``save_status`` wrote; None where there is none. Raises MedlangevinError when it is damaged."""
    file = out / STATUS
    if not file.is_file():
        return None
    saved = read_json(file)
    try:
        persons = {name: read_outcome(record) for name, record in saved["persons"].items()}
        return persons, require_rows(saved["failures"])
    except DAMAGE as error:
        raise MedlangevinError(f"{file} is damaged; run preprocess with --raw again") from error


def clear_parts(out: Path) -> None:
    """Remove the parts, which ``status.json`` now holds. Only under a lock that nobody shares."""
    shutil.rmtree(out / PARTS, ignore_errors=True)


def sweep_unfinished(out: Path) -> None:
    """Remove the unfinished files of runs that were killed. Only under a lock that nobody shares."""
    for folder in (out, out / "crops", out / "qc"):
        sweep(folder)


def remove_stale(out: Path, outcomes: Iterable[Outcome]) -> None:
    """Remove files of ears that a person had in an earlier run and has no more; other people's are left alone."""
    for outcome in outcomes:
        usable, failed = ({ear["side"] for ear in ears} for ears in (outcome.ears, outcome.failed))
        for side in "LR":
            *crop, picture = _files_of(out, outcome.subject, side)
            for file in ([] if side in usable else crop) + ([] if side in failed else [picture]):
                file.unlink(missing_ok=True)


def require_same_people(out: Path, subjects: Iterable[str], raw: Path) -> None:
    """Raise MedlangevinError when most of those whom earlier runs wrote of are not in ``subjects``.

    Then it is not that some withdrew: ``raw`` is another folder, or half of one, or the key is another.
    """
    recorded = _recorded(out)
    gone = recorded - set(subjects)
    if len(gone) > len(recorded) - len(gone):
        raise MedlangevinError(
            f"{out} holds {len(recorded)} people, and {len(gone)} of them are not among the scans in {raw}; finishing "
            "would remove their crops: give another --out, all the scans, or the key they were made with"
        )


def remove_former(out: Path, subjects: Iterable[str]) -> int:
    """Remove the files of everybody whom earlier runs wrote of and who is not in ``subjects``; how many people.

    Known from ``status.json`` and from parts of interrupted runs: call it before they are replaced. No file that
    preprocess would not have written under that very name is touched.
    """
    former = _recorded(out) - set(subjects)
    counted = 0
    for subject in former:
        present = [file for side in "LR" for file in _files_of(out, subject, side) if file.is_file()]
        for file in present:
            file.unlink(missing_ok=True)
        counted += bool(present)
    return counted


def _recorded(out: Path) -> set[str]:
    """Everybody in ``status.json`` or in a part. A damaged record could name any file: only pseudonyms count."""
    # Names only: the records may be of another version, whose fields differ.
    names = set(_saved_persons(out))
    names |= {part.stem.removeprefix("sub-") for part in (out / PARTS).glob("sub-*.json")}
    return {name for name in names if PSEUDONYM.fullmatch(name)}


def _files_of(out: Path, subject: str, side: str) -> list[Path]:
    """The files that an ear may have: sidecar, crop and picture, and last the picture of one that failed."""
    crop, failed = ear_name(subject, side), failed_name(subject, side)
    names = (f"crops/{crop}.json", f"crops/{crop}.nii.gz", f"qc/{crop}.png", f"qc/{failed}.png")
    return [out / name for name in names]


def _part(out: Path, subject: str) -> Path:
    return out / PARTS / f"sub-{subject}.json"


class Shard(NamedTuple):
    """Share ``number`` (from 1) ``of`` so many."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """``3/20`` to the third of twenty shares. Raises MedlangevinError."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.of:
        raise MedlangevinError(f"shard {text!r} is no share; give its number and how many there are, as in 3/20")
    return shard


def shard_of(subject: str, count: int) -> Shard:
    """The share of ``count`` that a person belongs to. Nobody moves when other people are added or taken away."""
    # Not the digits of the pseudonym themselves: the split into training and test data is taken from a hash of them.
    digest = hashlib.sha256(f"shard\0{subject}".encode()).digest()
    return Shard(int.from_bytes(digest[:8]) % count + 1, count)
