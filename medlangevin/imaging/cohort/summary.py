"""What a run of preprocess found and did, and how it is said on the terminal."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.status import Shard
from medlangevin.imaging.reading.rejection import WHOSE
from medlangevin.system.errors import PartialFailureError

# Codes of notes on whose a series is, which is used all the same.
USED_ALL_THE_SAME = {"many-studies", "same-scan", *(reason.code for reason in WHOSE)}


@dataclass(frozen=True)
class Problem:
    """A CT series without a crop, for the terminal.

    Attributes:
        folder: Where it lies. It may name a patient and is in no output file; None where the scans were not looked at.
        study: Hash of the series; empty where there is no key.
        reason: What is wrong with it.
        what_to_do: Advice to the user.
        is_used: Whether it is used all the same.
    """

    folder: Path | None
    study: str
    reason: str
    what_to_do: str
    is_used: bool = False


@dataclass(frozen=True)
class PreprocessSummary:
    """What was found and done.

    Attributes:
        out: The output folder.
        outcomes: What became of each person, by pseudonym, in the order of the pseudonyms.
        folders: Folders of the series, by hash; empty where the scans were not looked at.
        other_failures: Series without a crop that belong to no person.
        other_notes: Series that were not used, as decided before they were looked at.
        excluded: Number of CT series that the user leaves out.
        key_file: Key of the pseudonyms; None where the scans were not looked at.
        table: Private table of studies and folders; None where the scans were not looked at.
        files: Number of files below the folder of the scans; 0 where they were not looked at.
        series: Number of CT series; 0 where the scans were not looked at.
        resumed: Number of persons who were done by an earlier run.
        passed_over: Number of files by reason.
        shard: The share of the persons that was worked on; None for all.
        removed: Number of people whose files of an earlier run were removed, as their scans are no longer there.
        kept: Number of people who stay as they were, as a file or folder cannot be opened.
        by_study: Number of studies that are taken for a person each, as they have no birth date.
    """

    out: Path
    outcomes: dict[str, Outcome]
    folders: Mapping[str, Path] = field(default_factory=dict)
    other_failures: tuple[Problem, ...] = ()
    other_notes: tuple[Problem, ...] = ()
    excluded: int = 0
    key_file: Path | None = None
    table: Path | None = None
    files: int = 0
    series: int = 0
    resumed: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    shard: Shard | None = None
    removed: int = 0
    kept: int = 0
    by_study: int = 0

    @property
    def persons(self) -> int:
        """How many persons were worked on, now or by an earlier run; what was only passed over is not a person."""
        return sum(bool(item.ears or item.failures or item.failed) for item in self.outcomes.values())

    @property
    def ears(self) -> tuple[dict[str, Any], ...]:
        """The records of all crops in status.json, in the order of the pseudonyms."""
        return tuple(ear for outcome in self.outcomes.values() for ear in outcome.ears)

    @property
    def failed(self) -> tuple[dict[str, Any], ...]:
        """The records of all ears that cannot be used, in the order of the pseudonyms."""
        return tuple(ear for outcome in self.outcomes.values() for ear in outcome.failed)

    @property
    def failures(self) -> tuple[Problem, ...]:
        """The series that gave no ear: those of persons in the order of the pseudonyms, then the others."""
        return (*self._problems(row for item in self.outcomes.values() for row in item.failures), *self.other_failures)

    @property
    def notes(self) -> tuple[Problem, ...]:
        """The series that were not used, though nothing is wrong with them, in the same order."""
        return (*self._problems(row for item in self.outcomes.values() for row in item.notes), *self.other_notes)

    def _problems(self, rows: Iterable[dict[str, str]]) -> Iterator[Problem]:
        return (problem_of(row, self.folders.get(row["study"])) for row in rows)


def problem_of(row: dict[str, str], folder: Path | None) -> Problem:
    """A row of failures.tsv, for the terminal.

    Args:
        row: The row.
        folder: The folder of the series; None where it is not known.

    Returns:
        The problem.
    """
    return Problem(folder, row["study"], row["reason"], row["what_to_do"], is_used=row["code"] in USED_ALL_THE_SAME)


def describe(summary: PreprocessSummary) -> str:
    """What is said on the terminal: what was found, cropped, to be reviewed, passed over, and where the files are.

    Folder names appear here, as the user has to find the scan; no output file holds them.

    Args:
        summary: What was found and done.

    Returns:
        A few lines.
    """
    lines = []
    if summary.files:
        share = f" (shard {summary.shard})" if summary.shard else ""
        of = f"{summary.series} CT series of {summary.persons} persons"
        lines.append(f"found    {of} in {summary.files} files{share}")
    sides = Counter(ear["side"] for ear in summary.ears)
    verdicts = Counter(ear["verdict"] for ear in summary.ears)
    kept = f", {summary.resumed} persons from an earlier run" if summary.resumed else ""
    lines.append(f"cropped  {len(summary.ears)} ears ({sides['L']} left, {sides['R']} right){kept}")
    lines.append(f"verdict  {verdicts['ok']} ok, {verdicts['review']} to review, {len(summary.failed)} failed")
    for ear in (*summary.ears, *summary.failed):
        if ear["verdict"] != "ok":
            lines.append(f"{ear['verdict']:<8} sub-{ear['subject']} side {ear['side']}: {ear['why']}")
    lines += [_line("failed", problem) for problem in summary.failures]
    lines += [_line("note" if problem.is_used else "skipped", problem) for problem in summary.notes]
    lines += [f"passed   {count} file{'s' if count > 1 else ''}: {text}" for text, count in summary.passed_over.items()]
    if summary.by_study:
        studies = "1 study has" if summary.by_study == 1 else f"{summary.by_study} studies have"
        lines.append(f"note     {studies} no birth date (or 1900 and before): each study is taken for a person")
    if summary.kept:
        people = "1 person" if summary.kept == 1 else f"{summary.kept} people"
        lines.append(f"kept     {people} as before: nobody is removed or made again while something cannot be opened")
    if summary.excluded:
        lines.append(f"excluded {summary.excluded} CT series; reruns leave them out until --exclude gives another list")
    if summary.removed:
        people = "person who is" if summary.removed == 1 else "people who are"
        lines.append(f"removed  the files of {summary.removed} {people} no longer among the scans or left out")
    if summary.shard is not None:
        lines.append(f"next     when all {summary.shard.of} shards are done: preprocess --merge --out {summary.out}")
    elif summary.ears or summary.failed:
        lines.append(f"pictures {summary.out / 'qc' / 'index.html'}")
    if summary.key_file is not None:
        lines.append(f"key      {summary.key_file} (keep it private: it links the pseudonyms to the patients)")
    if summary.table is not None:
        lines.append(f"table    {summary.table} (keep it private: study, series and folder of each pseudonym)")
    return "\n".join(lines)


def require_no_failures(summary: PreprocessSummary) -> None:
    """Refuse to call the work done where a series gave no crop.

    Args:
        summary: What was found and done.

    Raises:
        PartialFailureError: Where a series gave no crop, or an ear cannot be used.
    """
    if summary.failures or summary.failed:
        ears = f" and {len(summary.failed)} ears cannot be used" if summary.failed else ""
        listed = "" if summary.shard else f" and in {summary.out / 'failures.tsv'}"
        raise PartialFailureError(f"{len(summary.failures)} CT series gave no crop{ears}; reasons above{listed}")


def _line(word: str, problem: Problem) -> str:
    advice = "" if problem.what_to_do == "nothing" else f"; {problem.what_to_do}"
    where = printable(problem.folder) if problem.folder else f"series {problem.study}"
    return f"{word:<8} {where}: {problem.reason}{advice}"


def printable(path: Path | str) -> str:
    """Write a name on one line that any terminal takes: line breaks and bytes of another encoding as escapes.

    Args:
        path: The name.

    Returns:
        The line.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
