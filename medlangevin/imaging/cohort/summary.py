"""What a run of preprocess found and did, and how it is said on the terminal."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.status import Shard
from medlangevin.system.errors import PartialFailureError


@dataclass(frozen=True)
class Problem:
    """A CT series without a crop, for the terminal: ``folder`` may name a patient and is in no output file.

    ``folder`` is None where the scans were not looked at.
    """

    folder: Path | None
    study: str
    reason: str
    what_to_do: str


@dataclass(frozen=True)
class PreprocessSummary:
    """What was found and done. ``ears``: the records of status.json, ``failed``: those of ears that cannot be used;
    ``failures``: series that gave no ear; ``passed_over``: files by reason.

    ``removed``: people whose files of an earlier run were removed, as their scans are no longer there.

    ``key_file`` is None, and ``files`` and ``series`` are 0, where the scans were not looked at.
    """

    out: Path
    ears: tuple[dict[str, Any], ...]
    persons: int
    failures: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    failed: tuple[dict[str, Any], ...] = ()
    key_file: Path | None = None
    files: int = 0
    series: int = 0
    resumed: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    shard: Shard | None = None
    removed: int = 0

    @property
    def pictures(self) -> Path:
        """The page to look at."""
        return self.out / "qc" / "index.html"


def ears_of(outcomes: dict[str, Outcome]) -> tuple[dict[str, Any], ...]:
    """The records of all ears, in the order of the pseudonyms."""
    return tuple(ear for name in sorted(outcomes) for ear in outcomes[name].ears)


def failed_ears_of(outcomes: dict[str, Outcome]) -> tuple[dict[str, Any], ...]:
    """The records of all ears that cannot be used, in the order of the pseudonyms."""
    return tuple(ear for name in sorted(outcomes) for ear in outcomes[name].failed)


def problems_of(
    outcomes: dict[str, Outcome], folders: Mapping[str, Path], other: Iterable[Problem]
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Failures and notes of all persons, with the folders of their series where known; ``other`` failures follow."""

    def problem(row: dict[str, str]) -> Problem:
        return problem_of(row, folders.get(row["study"]))

    ordered = [outcomes[name] for name in sorted(outcomes)]
    failures = [problem(row) for outcome in ordered for row in outcome.failures]
    return (*failures, *other), tuple(problem(row) for outcome in ordered for row in outcome.notes)


def problem_of(row: dict[str, str], folder: Path | None) -> Problem:
    """A row of failures.tsv for the terminal."""
    return Problem(folder, row["study"], row["reason"], row["what_to_do"])


def describe(summary: PreprocessSummary) -> str:
    """A few lines: what was found, cropped, to be reviewed, without a crop, passed over, and where things are.

    Folder names appear here, as the user has to find the scan; no output file holds them.
    """
    lines = []
    if summary.files:
        share = f" (shard {summary.shard})" if summary.shard else ""
        lines.append(
            f"found    {summary.series} CT series of {summary.persons} persons in {summary.files} files{share}"
        )
    sides = Counter(ear["side"] for ear in summary.ears)
    verdicts = Counter(ear["verdict"] for ear in summary.ears)
    kept = f", {summary.resumed} persons from an earlier run" if summary.resumed else ""
    lines.append(f"cropped  {len(summary.ears)} ears ({sides['L']} left, {sides['R']} right){kept}")
    lines.append(f"verdict  {verdicts['ok']} ok, {verdicts['review']} to review, {len(summary.failed)} failed")
    for ear in (*summary.ears, *summary.failed):
        if ear["verdict"] != "ok":
            lines.append(f"{ear['verdict']:<8} sub-{ear['subject']} side {ear['side']}: {ear['why']}")
    lines += [_line("failed", problem) for problem in summary.failures]
    lines += [_line("skipped", problem) for problem in summary.notes]
    lines += [f"passed   {count} file{'s' if count > 1 else ''}: {text}" for text, count in summary.passed_over.items()]
    if summary.removed:
        people = "person who is" if summary.removed == 1 else "people who are"
        lines.append(f"removed  the files of {summary.removed} {people} no longer among the scans")
    if summary.shard is not None:
        lines.append(f"next     when all {summary.shard.of} shards are done: preprocess --merge --out {summary.out}")
    elif summary.ears or summary.failed:
        lines.append(f"pictures {summary.pictures}")
    if summary.key_file is not None:
        lines.append(f"key      {summary.key_file} (keep it private: it links the pseudonyms to the patients)")
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
    where = _printable(problem.folder) if problem.folder else f"series {problem.study}"
    return f"{word:<8} {where}: {problem.reason}{advice}"


def _printable(path: Path) -> str:
    """A name on one line that any terminal takes: line breaks and bytes of another encoding as escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
