"""A reference made from a cohort's own scans, for users whose scanner or population differs from the package's."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk

from medlangevin.imaging.cohort import groupwise
from medlangevin.imaging.cohort.groupwise import ENOUGH_EARS, PersonEars, PersonScan, Round
from medlangevin.imaging.cohort.person import volumes
from medlangevin.imaging.cohort.preprocess import single_threaded
from medlangevin.imaging.cohort.summary import Problem
from medlangevin.imaging.reading.copies import without_copies
from medlangevin.imaging.reading.ingest import Series, ingest
from medlangevin.imaging.reading.rejection import HIDDEN, Reason, UnusableSeriesError
from medlangevin.imaging.registration.reference import load_reference
from medlangevin.imaging.registration.register import Matcher
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.nifti import write_image
from medlangevin.system.progress import progress
from medlangevin.system.workers import Loss, run_all

ITERATIONS = 6


@dataclass(frozen=True)
class BuildSummary:
    """What was made from a folder of scans.

    Attributes:
        ears: Number of ears averaged in the last round.
        changes_mm: Mean movement of the ears between rounds, mm.
        failures: Series that gave no ear, with their folders and without a hash.
    """

    ears: int
    changes_mm: tuple[float, ...]
    failures: tuple[Problem, ...]

    @property
    def warning(self) -> str:
        """One line when it is a mean of few ears, else empty."""
        if self.ears >= ENOUGH_EARS:
            return ""
        return f"a mean of {self.ears} ears keeps what is odd in each of them; give scans of {ENOUGH_EARS} or more"


class Task(NamedTuple):
    """The work of one process: the series of one person, and where the ears lay in the round before."""

    number: int
    series: tuple[Series, ...]
    known: groupwise.Places


def build_reference_from_folder(
    raw: Path, out_file: Path, *, reference: Path | None = None, workers: int = 1, iterations: int = ITERATIONS
) -> BuildSummary:
    """Write the mean ear of all scans below a folder, as a file for ``load_reference``.

    The frame is the package's in any case. Of several series of one ear the best is taken. A series that cannot be used
    is listed in the summary and stops nothing. The file appears whole or not at all.

    Args:
        raw: Folder of the scans.
        out_file: NIfTI file to write, ending in .nii.gz, int16 HU; not below ``raw``.
        reference: What the first round registers to; the package's own by default.
        workers: Number of processes.
        iterations: The largest number of rounds.

    Returns:
        What was made.

    Raises:
        MedlangevinError: ``raw`` holds no CT series, ``out_file`` has another ending or lies below ``raw``, or as
            ``groupwise.iterate`` does.
    """
    raw, out_file = Path(raw), Path(out_file)
    if not out_file.name.endswith(".nii.gz"):
        raise MedlangevinError(
            f"{out_file} is not the name of a NIfTI file; let the name of the new reference end in .nii.gz"
        )
    if not raw.is_dir():
        raise MedlangevinError(f"{raw} is not a folder; give the folder of the scans with --raw")
    if out_file.resolve().is_relative_to(raw.resolve()):
        # It would be read as one more scan, and give one more ear.
        raise MedlangevinError(f"{out_file} lies among the scans in {raw}; give the new reference another folder")
    start, anchor = load_reference(reference), load_reference()
    persons: dict[str, list[Series]] = {}
    found = ingest(raw)
    for series in without_copies(found.series)[0]:
        persons.setdefault(series.person, []).append(series)
    groups = [tuple(members) for _, members in sorted(persons.items())]
    if not groups:
        raise MedlangevinError(f"no CT series in {raw}; give a folder with CT of the temporal bone")
    rounds = 0

    def one_round(now: Round, known: dict[int, groupwise.Places]) -> groupwise.Ears:
        nonlocal rounds
        rounds += 1
        tasks = [Task(number, group, known.get(number, {})) for number, group in enumerate(groups)]
        results = run_all(_find, tasks, workers=workers, setup=_prepare, setup_args=(now,), lost=_lost)
        with progress(len(tasks), f"round {rounds} of at most {iterations}, person") as track, closing(results):
            for count, (task, found) in enumerate(results, 1):
                track.advance(count, f"{sum(ear.hu is not None for ear in found[0])} ears")
                yield task.number, found

    single_threaded()
    built = groupwise.iterate(one_round, start, start if reference is None else anchor, iterations)
    write_image(out_file, sitk.Cast(built.reference.image, sitk.sitkInt16))
    load_reference(out_file)
    failures = [Problem(groups[person][at].folder, "", why.text, why.advice) for person, at, why in built.problems]
    hidden = [item for item in found.passed_over if item.reason.code in HIDDEN]
    failures += [Problem(item.folder, "", item.reason.text, item.reason.advice) for item in hidden]
    return BuildSummary(built.ears, built.changes_mm, tuple(failures))


def describe_built(built: BuildSummary, raw: Path, target: Path) -> str:
    """Tell what was made of a folder of scans.

    Args:
        built: What ``build_reference_from_folder`` gave.
        raw: The folder of the scans.
        target: The file that was written.

    Returns:
        A line for each series that was left out, then what was built and how to use it. Folders may name a patient.
    """
    moved = ", ".join(f"{change:.2f}" for change in built.changes_mm)
    lines = [f"failed   {item.folder}: {item.reason}; {item.what_to_do}" for item in built.failures]
    lines.append(f"built    {target} from {built.ears} ears; mean movement in each round, mm: {moved}")
    if built.warning:
        lines.append(f"warning  {built.warning}")
    lines.append(f"use      medlangevin preprocess --raw {raw} --reference {target}")
    return "\n".join(lines)


def require_all_used(built: BuildSummary) -> None:
    """Refuse to call the work done where a series was left out.

    Args:
        built: What ``build_reference_from_folder`` gave.

    Raises:
        PartialFailureError: Where a series gave no ear.
    """
    if built.failures:
        raise PartialFailureError(f"{len(built.failures)} CT series were left out; reasons above")


_prepared: tuple[Round, Matcher]


def _prepare(now: Round) -> None:
    global _prepared
    single_threaded()
    _prepared = now, Matcher(now.reference)


def _find(task: Task) -> PersonEars:
    now, matcher = _prepared
    problems: list[tuple[int, Reason]] = []
    try:
        found, refused = groupwise.person_ears(_read(task, problems), task.known, matcher, now)
    except Exception as error:
        # One odd scan must not end the work. The message could hold a path: only its kind is told.
        text = f"it could not be processed ({type(error).__name__})"
        return [], [*problems, (0, Reason("internal", text, "preprocess it alone and report the error"))]
    return found, problems + refused


def _lost(task: Task, loss: Loss) -> PersonEars:
    text = f"the process that read it {'was killed (out of memory?)' if loss == 'killed' else 'took too long'}"
    return [], [(0, Reason("lost", text, "try again with fewer --workers"))]


def _read(task: Task, problems: list[tuple[int, Reason]]) -> Iterator[PersonScan]:
    """The person's scans one by one, of earlier rounds only those that are used; what cannot be read is listed."""
    used = {place.series for place in task.known.values()}
    for number, series in enumerate(task.series):
        if used and number not in used:
            continue
        try:
            for index, volume in enumerate(volumes(series)):
                yield PersonScan(number, index, volume.image, series.sharpness)
        except UnusableSeriesError as error:
            problems += [(number, error.reason)] if error.reason.failure else []
