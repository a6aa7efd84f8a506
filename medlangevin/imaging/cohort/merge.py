"""The end of a run, or of all its shards: index files, one ``status.json``, and no files of earlier runs left."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from medlangevin.imaging.cohort import status
from medlangevin.imaging.cohort.dataset import write_index_files
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.shared_ears import with_shared_ears
from medlangevin.imaging.cohort.splits import recorded_splits
from medlangevin.imaging.cohort.status import LOCK, PARTS, Status, files_of_ear, recorded_subjects, shard_of
from medlangevin.imaging.cohort.summary import PreprocessSummary, problem_of
from medlangevin.imaging.reading.rejection import HIDDEN
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import sweep
from medlangevin.system.lock import locked


def merge(out: Path) -> PreprocessSummary:
    """Write the index files of what the shards of a run have done; the same bytes as one run without shards writes.

    Neither the scans nor the key are needed. Merged once, it may be merged again.

    Args:
        out: The output folder of the shards.

    Returns:
        What was found and done.

    Raises:
        MedlangevinError: A shard is missing, or there is nothing to merge; then nothing is written.
    """
    out = Path(out)
    if not status.is_output_folder(out):
        raise MedlangevinError(f"{out} holds nothing to merge; run preprocess --shard 1/N to N/N with this --out first")
    with locked(out / PARTS / LOCK, shared=False, busy=busy_text(out)) as alone:
        plan = status.load_plan(out)
        if plan is None:
            saved = status.load_status(out)
        else:
            saved = Status(status.finished(out, plan.persons), plan.failures, plan.excluded)
            _require_all_done(out, plan, saved.persons)
        if saved is None:
            raise MedlangevinError(f"the run in {out} was interrupted; run the same command again, with --raw")
        now = completed(out, saved)
        removed = finish(out, now, recorded_splits(out), alone=alone)
    others = tuple(problem_of(row, None) for row in now.failures)
    return PreprocessSummary(out, now.persons, other_failures=others, removed=removed)


def completed(out: Path, now: Status) -> Status:
    """Take the outcomes of all persons together, at the end of a run.

    Args:
        out: The output folder.
        now: What became of each person among the scans.

    Returns:
        The same with outcomes in the order of the pseudonyms and notes on ears that two persons share; while a file or
        folder cannot be opened, also with people on record who are not among the scans.
    """
    recorded = status.recorded_outcomes(out) if _is_hidden(now) else {}
    left = {name: outcome for name, outcome in recorded.items() if name not in now.excluded}
    return now._replace(persons=with_shared_ears(out, dict(sorted((left | now.persons).items()))))


def _is_hidden(now: Status) -> bool:
    return any(row["code"] in HIDDEN for row in now.failures)


def finish(out: Path, now: Status, recorded: Mapping[str, str], *, alone: bool) -> int:
    """Write status and index files, and remove what earlier runs left. Only under a lock that is not shared.

    Args:
        out: The output folder.
        now: What became of each person.
        recorded: The split of each person of earlier runs, who keeps it.
        alone: Whether it is certain that no other process writes there: then unfinished files of runs that were
            killed are removed as well.

    Returns:
        The number of people whose files were removed, as their scans are no longer there or left out.
    """
    # In what could not be opened this time, people may still be.
    hidden = _is_hidden(now)
    outcomes = list(now.persons.values())
    former = recorded_subjects(out) - set(now.persons)
    removed = _remove_files(out, former & set(now.excluded) if hidden else former)
    status.save_status(out, now)
    known = {name: split for name, split in recorded.items() if name not in now.excluded}
    write_index_files(out, outcomes, now.failures, known, keep_absent=hidden)
    if not hidden:
        _remove_stale(out, outcomes)
    if alone:
        for folder in (out, out / "crops", out / "qc"):
            sweep(folder)
    # What was in the parts is in status.json now.
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return removed


def busy_text(out: Path) -> str:
    """The error message for an output folder in which another run works.

    Args:
        out: The output folder.

    Returns:
        One line.
    """
    return f"another run is writing to {out}; wait until it is done, or give another folder with --out"


def require_same_people(out: Path, subjects: Iterable[str], raw: Path, *, excluded: Iterable[str] = ()) -> None:
    """Refuse scans that lack most of the people of earlier runs.

    Then it is not that some withdrew: ``raw`` is another folder, or half of one, or the key is another.

    Args:
        out: The output folder.
        subjects: Pseudonyms of the people among the scans.
        raw: The folder of the scans.
        excluded: Pseudonyms, among others, that the user leaves out.

    Raises:
        MedlangevinError: Most of the people in the records are not in ``subjects``.
    """
    recorded = recorded_subjects(out) - set(excluded)
    gone = recorded - set(subjects)
    if len(gone) > len(recorded) - len(gone):
        raise MedlangevinError(
            f"{out} holds {len(recorded)} people, and {len(gone)} of them are not among the scans in {raw}; finishing "
            "would remove their crops: give another --out, all the scans, or the key they were made with"
        )


def _remove_files(out: Path, subjects: Iterable[str]) -> int:
    """Remove the files of people of earlier runs; how many people they were.

    They are known from ``status.json`` and from parts of interrupted runs: to be called before these are replaced. No
    file that preprocess would not have written under that very name is touched.
    """
    removed = 0
    for subject in subjects:
        present = [file for side in "LR" for file in files_of_ear(out, subject, side) if file.is_file()]
        for file in present:
            file.unlink(missing_ok=True)
        removed += bool(present)
    return removed


def _remove_stale(out: Path, outcomes: Iterable[Outcome]) -> None:
    """Remove files of ears that a person had in an earlier run and no longer has; other people's files stay."""
    for outcome in outcomes:
        usable, failed = ({ear["side"] for ear in ears} for ears in (outcome.ears, outcome.failed))
        for side in "LR":
            *crop, picture = files_of_ear(out, outcome.subject, side)
            for file in ([] if side in usable else crop) + ([] if side in failed else [picture]):
                file.unlink(missing_ok=True)


def _require_all_done(out: Path, plan: status.Plan, outcomes: dict[str, Outcome]) -> None:
    missing = Counter(shard_of(subject, plan.shards) for subject in plan.persons if subject not in outcomes)
    if missing:
        listed = ", ".join(str(shard) for shard in sorted(missing))
        raise MedlangevinError(
            f"{missing.total()} of {len(plan.persons)} persons in {out} are not done; run --shard {listed} (again), "
            "then merge"
        )
