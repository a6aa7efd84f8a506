"""All scans of one person to at most two crops: the unit of work, done once in one process and skipped afterwards.

What has to be the same for earlier work to count is hashed here too.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk
import torch

from medlangevin._version import __version__
from medlangevin.imaging.cohort.deidentify import pseudonym, series_hash
from medlangevin.imaging.cohort.ear_files import CroppedEar, write_ear
from medlangevin.imaging.cohort.series_choice import RankedEar, why_better
from medlangevin.imaging.reading.decode import read_stack, read_volume_file
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import Series
from medlangevin.imaging.reading.rejection import ACQUISITIONS_JOIN, Doubt, Reason, UnusableSeriesError
from medlangevin.imaging.reading.volume_file import header_doubts
from medlangevin.imaging.registration.crop import WIDE_GRID, extract, is_in_crop, on_grid
from medlangevin.imaging.registration.find_ears import FoundEar, find_ears
from medlangevin.imaging.registration.quality import is_candidate, refusal, with_doubts, with_slice_thickness
from medlangevin.imaging.registration.reference import Reference
from medlangevin.imaging.registration.register import Matcher, Method

# Raise it whenever the same scan would give another crop: crops of older settings are then made again.
ALGORITHM = 5
# Few people's temporal bones are scanned more often, while an anonymiser may give everybody one id and one birth date.
MANY_STUDIES = 4
# Exports often hold thick or short series beside the good one; then these are not failures.
BESIDE_A_GOOD_SERIES = {"too-coarse", "too-small", "too-few-slices"}


@dataclass(frozen=True)
class Person:
    """Work for one process.

    Attributes:
        subject: Pseudonym.
        inputs: A hash of the person's files and the settings: what has to be the same for earlier work to count.
        series: Pairs of series hash and series.
        provenance: What goes into every sidecar.
    """

    subject: str
    inputs: str
    series: tuple[tuple[str, Series], ...]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a person, as in status.json.

    Attributes:
        subject: Pseudonym.
        inputs: A hash of the person's files and the settings.
        ears: Records of crops, ok or to be reviewed.
        failures: Rows of failures.tsv (study, code, reason, what_to_do): series that gave no ear.
        notes: Rows of the same form: series that were not used, though nothing is wrong with them, and doubts whose a
            series is.
        failed: Records of ears that were found but cannot be used, without a crop.
    """

    subject: str
    inputs: str
    ears: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


class Volume(NamedTuple):
    """One volume of a series.

    Attributes:
        image: HU in LPS.
        tilt_deg: The tilt of its slices.
        doubts: What its header leaves in doubt.
        seams: Where two acquisitions join: LPS mm of a point between their slices.
        gap: Why it is not all of what was scanned; None where it is.
    """

    image: sitk.Image
    tilt_deg: float = 0.0
    doubts: tuple[Doubt, ...] = ()
    seams: tuple[tuple[float, ...], ...] = ()
    gap: Reason | None = None


def persons_of(series: tuple[Series, ...], raw: Path, key: bytes, reference: Reference, method: Method) -> list[Person]:
    """Group series by person, one unit of work each.

    Args:
        series: All series to use.
        raw: The folder of the scans.
        key: The key of the pseudonyms.
        reference: What ears are registered to.
        method: How they are registered.

    Returns:
        The persons, in the order of their pseudonyms.
    """
    provenance: dict[str, Any] = {
        "reference_sha256": reference.digest,
        "registration": method,
        "algorithm": ALGORITHM,
        "software": {
            "medlangevin": __version__,
            "SimpleITK": sitk.Version.VersionString(),
            "pydicom": pydicom.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    settings = json.dumps([ALGORITHM, reference.digest, method, __version__])
    groups: dict[str, list[Series]] = {}
    for item in series:
        groups.setdefault(pseudonym(key, item.person), []).append(item)
    persons = []
    for subject, members in sorted(groups.items()):
        inputs = series_hash(key, settings + "".join(sorted(_content(item, raw) for item in members)))
        named = tuple((series_hash(key, item.series_uid), item) for item in members)
        persons.append(Person(subject, inputs, named, provenance))
    return persons


def _content(series: Series, raw: Path) -> str:
    """What a series consists of, without reading its pixels: names, sizes and times of change of its files."""
    paths = {series.volume_file} if series.volume_file else {item.path for item in series.slices}
    return json.dumps(sorted((path.relative_to(raw).as_posix(), *_state(path)) for path in paths))


def _state(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        # Gone since its header was read: the reading of its pixels will say so.
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def process_person(person: Person, out: Path, matcher: Matcher) -> Outcome:
    """Crop every ear of a person; write crops, sidecars and pictures. One scan at a time is in memory.

    Args:
        person: The person's series.
        out: The output folder.
        matcher: The reference, prepared for matching.

    Returns:
        What became of the person.
    """
    best: dict[str, CroppedEar] = {}
    doubts = [failure_row(study, doubt) for study, series in person.series for doubt in series.doubts]
    outcome = Outcome(person.subject, person.inputs, notes=_many_studies(person) + doubts)
    for study, series in person.series:
        try:
            ears, refused = series_ears(study, series, matcher)
        except UnusableSeriesError as error:
            ears, refused = [], error.reason
        except Exception as error:
            # One odd scan must not end a night's run. The message could hold a path: only its kind is told.
            text = f"it could not be processed ({type(error).__name__})"
            ears, refused = [], Reason("internal", text, "run it alone and report the error")
        if refused is not None:
            (outcome.failures if refused.failure else outcome.notes).append(failure_row(study, refused))
        for ear in ears:
            rival = best.setdefault(ear.side, ear)
            if rival is ear:
                continue
            taken, other = (ear, rival) if ear.ranked.rank < rival.ranked.rank else (rival, ear)
            best[ear.side] = taken
            if other.found.verdict.word != "failed":
                same = taken.study == other.study
                where = "another volume of the same series" if same else f"series {taken.study}"
                why = f"ear {taken.side} is taken from {where}: {why_better(taken.ranked, other.ranked)}"
                outcome.notes.append(failure_row(other.study, Reason("same-ear", why, "nothing")))
    for _, ear in sorted(best.items()):
        record = write_ear(person.subject, ear, out, matcher.reference, person.provenance)
        (outcome.failed if record["verdict"] == "failed" else outcome.ears).append(record)
    if not outcome.ears:
        return outcome
    beside = [item for item in outcome.failures if item["code"] in BESIDE_A_GOOD_SERIES]
    rest = [item for item in outcome.failures if item not in beside]
    return replace(outcome, failures=rest, notes=outcome.notes + beside)


def _many_studies(person: Person) -> list[dict[str, str]]:
    """A note where so many studies share one id that they may be several people's, of whom two ears at most remain."""
    studies = {series.study_uid for _, series in person.series if series.study_uid}
    if len(studies) <= MANY_STUDIES:
        return []
    text = f"{len(studies)} studies share one patient id and birth date, and at most one left and one right ear is kept"
    advice = "if they are several people's, export them again with an id for each"
    return [failure_row(person.series[0][0], Reason("many-studies", text, advice))]


def series_ears(study: str, series: Series, matcher: Matcher) -> tuple[list[CroppedEar], Reason | None]:
    """Find the ears in one series, also those that cannot be used.

    Args:
        study: Hash of the series.
        series: The series.
        matcher: The reference, prepared for matching.

    Returns:
        The ears; and why none can be used, where that is so.

    Raises:
        UnusableSeriesError: The series cannot be read.
    """
    ears: list[CroppedEar] = []
    verdicts = []
    gap: Reason | None = None
    for volume in volumes(series):
        gap = gap or volume.gap
        for found in find_ears(volume.image, matcher):
            verdicts.append(found.verdict)
            if is_candidate(found.verdict):
                ears.append(_cropped(study, series, volume, found))
    if any(verdict.word != "failed" for verdict in verdicts):
        return ears, None
    reason = refusal(verdicts)
    # What is missing explains what was not found.
    return ears, gap.with_text(f"{gap.text}; in what is left: {reason.text}") if gap else reason


def _cropped(study: str, series: Series, volume: Volume, found: FoundEar) -> CroppedEar:
    scan, matrix = volume.image, found.fit.matrix
    grid = {
        "spacing_mm": [round(value, 4) for value in scan.GetSpacing()],
        "size": list(scan.GetSize()),
        "tilt_deg": round(volume.tilt_deg, 2),
    }
    joined = any(is_in_crop(scan, matrix, seam) for seam in volume.seams)
    verdict = with_doubts(found.verdict, [*([ACQUISITIONS_JOIN] if joined else []), *volume.doubts])
    judged = found._replace(verdict=with_slice_thickness(verdict, series.thickness_mm))
    ranked = RankedEar(judged, series.sharpness, max(*scan.GetSpacing(), series.thickness_mm))
    return CroppedEar(study, ranked, extract(scan, matrix), on_grid(scan, matrix, WIDE_GRID), grid)


def failure_row(study: str, reason: Reason) -> dict[str, str]:
    """A row of failures.tsv.

    Args:
        study: Hash of the series.
        reason: Why it gave no ear.

    Returns:
        The row: study, code, reason, what_to_do.
    """
    return {"study": study, "code": reason.code, "reason": reason.text, "what_to_do": reason.advice}


def volumes(series: Series) -> Iterator[Volume]:
    """Read every volume of a series, one at a time.

    Args:
        series: The series.

    Yields:
        The volumes.

    Raises:
        UnusableSeriesError: A volume cannot be read.
    """
    if series.volume_file is not None:
        yield Volume(read_volume_file(series.volume_file), doubts=header_doubts(series.volume_file))
        return
    for stack in stacks(series.slices):
        yield Volume(read_stack(stack), stack.geometry.tilt_deg, seams=stack.seams, gap=stack.gap)
