"""A folder of CT scans to aligned cochlea crops: find, check, register, crop, judge. A bad study harms no other."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import SimpleITK as sitk
import torch

from medlangevin.imaging.cohort import status
from medlangevin.imaging.cohort.deidentify import create_key, default_key_file, load_key, series_hash
from medlangevin.imaging.cohort.exclusion import leave_out, read_exclusions
from medlangevin.imaging.cohort.merge import busy_text, completed, finish, require_same_people
from medlangevin.imaging.cohort.person import Outcome, Person, failure_row, persons_of, process_person
from medlangevin.imaging.cohort.private_table import private_table, write_private_table
from medlangevin.imaging.cohort.series_choice import choose_named
from medlangevin.imaging.cohort.splits import recorded_splits
from medlangevin.imaging.cohort.status import LOCK, PARTS, Plan, Shard, Status, shard_of
from medlangevin.imaging.cohort.summary import PreprocessSummary, Problem, problem_of
from medlangevin.imaging.reading.copies import without_copies
from medlangevin.imaging.reading.ingest import Ingest, PassedOver, ingest
from medlangevin.imaging.reading.rejection import (
    ARCHIVE,
    DUPLICATE,
    HIDDEN,
    LABEL_MAP,
    NOT_DICOM,
    OTHER_FORMAT,
    SYSTEM_FILE,
    Reason,
)
from medlangevin.imaging.registration.reference import load_reference
from medlangevin.imaging.registration.register import Matcher, Method
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import foreign_files, require_folder
from medlangevin.system.lock import locked
from medlangevin.system.progress import progress
from medlangevin.system.workers import Loss, run_all

# A person's scans take seconds, a dozen large ones some minutes; what takes an hour will never end.
PERSON_LIMIT_S = 3600.0
LOST = {
    "killed": Reason(
        "killed",
        "its process was killed twice, the second time with nothing beside it (out of memory?)",
        "run the same command again with more memory",
    ),
    "overdue": Reason("overdue", "it took more than an hour and was stopped", "run it alone and report it"),
}
NOT_NAMED = ("another series of this person was named", "nothing")


def preprocess(
    raw: Path,
    out: Path,
    *,
    reference: Path | None = None,
    key_file: Path | None = None,
    workers: int = 0,
    method: Method = "block",
    series: Sequence[str] = (),
    exclude: Path | None = None,
    shard: Shard | None = None,
) -> PreprocessSummary:
    """Find every cochlea in a folder of scans (DICOM in any tree, NIfTI, NRRD) and write aligned crops.

    Ears that are done already, from the same files with the same settings, are kept. A series that gives no crop is
    listed in ``failures.tsv`` and in the summary, and stops nothing.

    Args:
        raw: Folder of the scans.
        out: Output folder.
        reference: NIfTI of a right ear in the reference frame; the package's own by default.
        key_file: The secret of the pseudonyms, made when absent; ``OUT.key`` beside ``out`` by default.
        workers: Number of processes. 0 works in this one, where nothing helps against a scan that kills it or never
            ends.
        method: How ears are registered.
        series: Names of series. Of a person of whom one is named, only the named ones are used.
        exclude: File of pseudonyms and scans to leave out, one a line; without it, what the last run left out.
        shard: Work on a share of the persons only, beside other shards that write to the same folder at the same time;
            ``merge`` ends such a run.

    Returns:
        What was found and done.

    Raises:
        MedlangevinError: There is nothing to work on, and nothing is written; or another run is writing to ``out``.
    """
    raw, out = Path(raw), Path(out)
    _check_folders(raw, out, workers)
    names = None if exclude is None else read_exclusions(exclude)
    loaded = load_reference(reference)
    key_file = key_file or default_key_file(out)
    if key_file.resolve().is_relative_to(out.resolve()):
        raise MedlangevinError(f"key file {key_file} lies in {out}, which may be passed on; give another with --key")
    key = load_key(key_file)
    if key is None and status.is_output_folder(out):
        raise MedlangevinError(
            f"{out} was made with a key that is not at {key_file}; name it with --key, or give a new folder with --out"
        )
    found = ingest(raw, workers=workers)
    _check_found(raw, found)
    before = status.recorded_exclusions(out)
    left_out = leave_out(
        found.series,
        sorted(before) if names is None else names,
        raw,
        key,
        recorded=status.recorded_subjects(out),
        strict=names is not None,
    )
    chosen = choose_named(left_out.kept, series, raw, key)
    key = key or create_key(key_file)
    hidden = any(item.reason.code in HIDDEN for item in found.passed_over)
    # A list that was given takes the place of the one before.
    excluded = sorted(left_out.hashes(key) | (before if names is None else set()))
    kept, copies = without_copies(chosen.kept)
    everybody = persons_of(kept, raw, key, loaded, method)
    now = _inputs(everybody)
    if hidden:  # then nobody is removed or made again
        everybody = status.with_recorded_inputs(out, everybody)
    else:
        require_same_people(out, now, raw, excluded=excluded)
    persons = [item for item in everybody if shard is None or shard_of(item.subject, shard.of) == shard]
    other = [(_passed_over_entry(item, key), item.folder) for item in found.passed_over if item.reason.failure]
    # In an order that tells nothing of the folders' names.
    other.sort(key=lambda pair: sorted(pair[0].items()))
    failures = [row for row, _ in other]
    with locked(out / PARTS / LOCK, shared=shard is not None, busy=busy_text(out)) as alone:
        table = private_table(key_file, out)
        write_private_table(table, found.series, key, keep_absent=hidden)
        if shard is not None:
            status.save_plan(out, Plan(shard.of, _inputs(everybody), failures, excluded))
        recorded = recorded_splits(out)
        done = status.finished(out, _inputs(persons))
        todo = [item for item in persons if item.subject not in done]
        new = _work_through(todo, out, workers, (reference, method), finished_before=len(done))
        outcomes = dict(sorted((done | new).items()))
        removed = 0
        if shard is None:
            whole = completed(out, Status(outcomes, failures, excluded))
            outcomes, removed = whole.persons, finish(out, whole, recorded, alone=alone)
    passed_over: Counter[str] = Counter()
    for item in found.passed_over:
        if not item.reason.failure:
            passed_over[item.reason.told] += item.files
    label_maps = sum(row["code"] == LABEL_MAP.code for outcome in outcomes.values() for row in outcome.notes)
    unused = [(item, DUPLICATE.text, DUPLICATE.advice) for item in copies]
    unused += [(item, *NOT_NAMED) for item in chosen.left_out]
    return PreprocessSummary(
        out,
        outcomes,
        folders={study: item.folder for person in persons for study, item in person.series},
        # What belongs to no person is said once, by the merge.
        other_failures=tuple(problem_of(row, folder) for row, folder in other) if shard is None else (),
        other_notes=tuple(
            Problem(item.folder, series_hash(key, item.series_uid), why, advice) for item, why, advice in unused
        ),
        excluded=len(found.series) - len(left_out.kept),
        key_file=key_file,
        table=table,
        files=found.files,
        series=sum(len(person.series) for person in persons) - label_maps,
        resumed=len(done),
        passed_over=dict(passed_over.most_common()),
        by_study=len({item.person for item in kept if item.study_uid and item.person.endswith(item.study_uid)}),
        shard=shard,
        removed=removed,
        kept=sum(now.get(subject) != outcome.inputs for subject, outcome in outcomes.items()),
    )


def _check_folders(raw: Path, out: Path, workers: int) -> None:
    if not raw.is_dir():
        raise MedlangevinError(f"{raw} is not a folder; give the folder of the scans with --raw")
    require_folder(out)
    if foreign_files(out, set()) and not status.is_output_folder(out):
        raise MedlangevinError(
            f"{out} holds files that preprocess did not write; give an empty or new folder with --out"
        )
    inside = out.resolve().is_relative_to(raw.resolve())
    if inside or raw.resolve().is_relative_to(out.resolve()):
        raise MedlangevinError(f"{out} and {raw} lie within each other; give --out a folder of its own")
    if workers < 0:
        raise MedlangevinError(f"workers is {workers}; give 0 or more")
    # Said before hours of reading, not after them.
    nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    if not os.access(nearest, os.W_OK):
        raise MedlangevinError(f"cannot write {out}: {nearest} is read-only; choose a folder you can write to")


def _check_found(raw: Path, found: Ingest) -> None:
    if found.series or any(item.reason.failure for item in found.passed_over):
        return
    kinds: Counter[str] = Counter()
    for item in found.passed_over:
        if item.reason not in (NOT_DICOM, SYSTEM_FILE):
            name = item.reason.text.removeprefix("modality ").removesuffix(", not CT")
            kinds[name if item.reason.code == "not-ct" else item.reason.code] += item.files
    if not kinds:
        raise MedlangevinError(f"no DICOM files in {raw} ({found.files} files looked at); give the folder of the scans")
    listed = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    advice = [reason.advice for reason in (ARCHIVE, OTHER_FORMAT) if reason.code in kinds]
    what_to_do = " and ".join(advice) or "give a folder with CT of the temporal bone"
    raise MedlangevinError(f"no CT series in {raw} (found: {listed}); {what_to_do}")


def _work_through(
    persons: list[Person], out: Path, workers: int, matching: tuple[Path | None, Method], *, finished_before: int
) -> dict[str, Outcome]:
    """Process every person; what is done is on disk before the next result is taken."""
    outcomes: dict[str, Outcome] = {}
    work = partial(_process, out)
    results = run_all(
        work, persons, workers=workers, setup=_prepare, setup_args=matching, lost=_lost, limit_s=PERSON_LIMIT_S
    )
    total = finished_before + len(persons)
    # Closing the generator on Ctrl-C stops the processes.
    with progress(total, "person", done=finished_before) as track, closing(results):
        for _, outcome in results:
            status.save_part(out, outcome)
            outcomes[outcome.subject] = outcome
            ears = ", ".join(f"{ear['side']} {ear['verdict']}" for ear in outcome.ears) or "no ear"
            track.advance(finished_before + len(outcomes), f"sub-{outcome.subject} {ears}")
    return outcomes


_matcher: Matcher


def _prepare(reference: Path | None, method: Method) -> None:
    global _matcher
    single_threaded()
    _matcher = Matcher(load_reference(reference), method=method)


def _process(out: Path, person: Person) -> Outcome:
    return process_person(person, out, _matcher)


def _lost(person: Person, loss: Loss) -> Outcome:
    failures = [failure_row(study, LOST[loss]) for study, _ in person.series]
    return Outcome(person.subject, person.inputs, failures=failures)


def single_threaded() -> None:
    """Use one thread in this process: the sums of a registration then come out the same in every run."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    # ITK's warnings name files, and file names may name patients.
    sitk.ProcessObject.GlobalWarningDisplayOff()
    torch.set_num_threads(1)


def _inputs(persons: list[Person]) -> dict[str, str]:
    return {person.subject: person.inputs for person in persons}


def _passed_over_entry(item: PassedOver, key: bytes) -> dict[str, str]:
    text = f"{item.reason.text} ({item.files} file{'s' if item.files > 1 else ''})"
    return failure_row(series_hash(key, item.series_uid), item.reason.with_text(text))
