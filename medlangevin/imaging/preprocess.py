"""A folder of CT scans to aligned cochlea crops: find, check, register, crop, judge; a bad study harms no other."""

import hashlib
import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
import torch

from medlangevin import __version__
from medlangevin.errors import MedlangevinError
from medlangevin.imaging.dataset import write_index_files
from medlangevin.imaging.deidentify import create_key, default_key_file, load_key, pseudonym, series_hash
from medlangevin.imaging.ingest import Ingest, PassedOver, Series, ingest
from medlangevin.imaging.person import Outcome, Person, ear_name, entry, process_person
from medlangevin.imaging.reference import Reference, load_reference
from medlangevin.imaging.register import Matcher
from medlangevin.imaging.rejection import Reason
from medlangevin.io import read_json, write_json
from medlangevin.progress import progress
from medlangevin.workers import run_all

# Raise it whenever the same scan would give another crop: crops of older settings are then made again.
ALGORITHM = 1
STATUS = "status.json"


@dataclass(frozen=True)
class Problem:
    """A CT series without a crop, for the terminal: ``folder`` may name a patient and is in no output file."""

    folder: Path
    study: str
    reason: str
    what_to_do: str


@dataclass(frozen=True)
class PreprocessSummary:
    """What was found and done. ``ears``: the records of status.json; ``passed_over``: files by reason."""

    out: Path
    key_file: Path
    files: int
    series: int
    persons: int
    ears: tuple[dict[str, Any], ...]
    resumed: int
    failures: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    passed_over: dict[str, int]

    @property
    def pictures(self) -> Path:
        """The page to look at."""
        return self.out / "qc" / "index.html"


def preprocess(
    raw: Path, out: Path, *, reference: Path | None = None, key_file: Path | None = None, workers: int = 1
) -> PreprocessSummary:
    """Find every cochlea below ``raw`` (DICOM in any tree, NIfTI, NRRD) and write aligned crops to ``out``.

    ``reference``: NIfTI of a right ear in the reference frame (the package's own by default). ``key_file``: the secret
    of the pseudonyms, made when absent (``OUT.key`` beside ``out`` by default). ``workers``: processes.
    Ears that are done already, from the same files with the same settings, are kept. A series that gives no crop is
    listed in ``failures.tsv`` and in the summary, and stops nothing. Raises MedlangevinError, with nothing written,
    when there is nothing to work on.
    """
    raw, out = Path(raw), Path(out)
    _check_folders(raw, out, workers)
    loaded = load_reference(reference)
    found = ingest(raw)
    _check_found(raw, found)
    key_file = key_file or default_key_file(out)
    key = load_key(key_file)
    if key is None and (out / STATUS).is_file():
        raise MedlangevinError(
            f"{out} was made with a key that is not at {key_file}; name it with --key, or give a new folder with --out"
        )
    key = key or create_key(key_file)
    persons = _persons(found, raw, key, loaded)
    done = _finished(out, persons)
    outcomes = {**done}
    with progress(len(persons), "person", done=len(done)) as track:
        todo = [person for person in persons if person.subject not in done]
        # Closing the generator on Ctrl-C stops the processes.
        work = partial(_process, out)
        with closing(run_all(work, todo, workers=workers, setup=_prepare, setup_args=(reference,))) as results:
            for _, outcome in results:
                outcomes[outcome.subject] = outcome
                _save_status(out, outcomes)
                track.advance(len(outcomes), _note(outcome))
    other = [(item, _passed_over_entry(item, key)) for item in found.passed_over if item.reason.failure]
    _save_status(out, outcomes)
    write_index_files(out, list(outcomes.values()), [row for _, row in other])
    return _summary(out, key_file, found, persons, outcomes, len(done), other)


def _check_folders(raw: Path, out: Path, workers: int) -> None:
    if not raw.is_dir():
        raise MedlangevinError(f"{raw} is not a folder; give the folder of the scans with --raw")
    if out.exists() and not out.is_dir():
        raise MedlangevinError(f"{out} is a file; give a folder with --out")
    foreign = out.is_dir() and any(not entry.name.startswith(".partial-") for entry in out.iterdir())
    if foreign and not (out / STATUS).is_file() and not (out / "crops").is_dir():
        raise MedlangevinError(
            f"{out} holds files that preprocess did not write; give an empty or new folder with --out"
        )
    inside = out.resolve().is_relative_to(raw.resolve())
    if inside or raw.resolve().is_relative_to(out.resolve()):
        raise MedlangevinError(f"{out} and {raw} lie within each other; give --out a folder of its own")
    if workers < 1:
        raise MedlangevinError(f"workers is {workers}; give at least 1")


def _check_found(raw: Path, found: Ingest) -> None:
    if found.series or any(item.reason.failure for item in found.passed_over):
        return
    kinds: Counter[str] = Counter()
    for item in found.passed_over:
        if item.reason.code != "not-dicom":
            name = item.reason.text.removeprefix("modality ").removesuffix(", not CT")
            kinds[name if item.reason.code == "not-ct" else item.reason.code] += item.files
    if not kinds:
        raise MedlangevinError(f"no DICOM files in {raw} ({found.files} files looked at); give the folder of the scans")
    listed = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    raise MedlangevinError(f"no CT series in {raw} (found: {listed}); give a folder with CT of the temporal bone")


def _persons(found: Ingest, raw: Path, key: bytes, reference: Reference) -> list[Person]:
    provenance = {
        "reference_sha256": reference.digest,
        "algorithm": ALGORITHM,
        "software": {
            "medlangevin": __version__,
            "SimpleITK": sitk.Version.VersionString(),
            "pydicom": pydicom.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    groups: dict[str, list[Series]] = {}
    for series in found.series:
        groups.setdefault(pseudonym(key, series.person), []).append(series)
    settings = json.dumps([ALGORITHM, reference.digest, __version__])
    return [
        Person(
            subject=subject,
            inputs=series_hash(key, settings + "".join(sorted(_content(series, raw) for series in members))),
            series=tuple((series_hash(key, series.series_uid), series) for series in members),
            provenance=provenance,
        )
        for subject, members in sorted(groups.items())
    ]


def _content(series: Series, raw: Path) -> str:
    """What a series consists of, without reading its pixels: names, sizes and times of change of its files."""
    paths = [series.volume_file] if series.volume_file else [item.path for item in series.slices]
    stats = [(path.relative_to(raw).as_posix(), path.stat()) for path in paths]
    return json.dumps(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _finished(out: Path, persons: list[Person]) -> dict[str, Outcome]:
    """The outcomes of an earlier run that still hold: the same inputs and settings, and every file there."""
    status = out / STATUS
    if not status.is_file():
        return {}
    saved = read_json(status)
    done = {}
    try:
        for person in persons:
            record = saved["persons"].get(person.subject)
            if record is not None and record["inputs"] == person.inputs and _is_whole(out, record):
                done[person.subject] = Outcome(**record)
    except (AttributeError, KeyError, TypeError) as error:
        raise MedlangevinError(f"{status} is damaged; delete it, and all ears are made again") from error
    return done


def _is_whole(out: Path, record: dict[str, Any]) -> bool:
    """Whether every file of a person is there and the crops are byte for byte what was written."""
    for ear in record["ears"]:
        name = ear_name(record["subject"], ear["side"])
        crop, others = out / "crops" / f"{name}.nii.gz", (out / f"crops/{name}.json", out / f"qc/{name}.png")
        if not crop.is_file() or not all(file.is_file() for file in others):
            return False
        if hashlib.sha256(crop.read_bytes()).hexdigest() != ear["sha256"]:
            return False
    return True


def _save_status(out: Path, outcomes: dict[str, Outcome]) -> None:
    write_json(out / STATUS, {"persons": {name: asdict(outcomes[name]) for name in sorted(outcomes)}})


_matcher: Matcher | None = None


def _prepare(reference: Path | None) -> None:
    global _matcher
    single_threaded()
    _matcher = Matcher(load_reference(reference))


def _process(out: Path, person: Person) -> Outcome:
    if _matcher is None:
        raise RuntimeError("worker used before it was prepared")
    return process_person(person, out, _matcher)


def single_threaded() -> None:
    """One thread a process: the sums of a registration then come out the same in every run."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    # ITK's warnings name files, and file names may name patients.
    sitk.ProcessObject.GlobalWarningDisplayOff()
    torch.set_num_threads(1)


def _note(outcome: Outcome) -> str:
    ears = ", ".join(f"{ear['side']} {ear['verdict']}" for ear in outcome.ears) or "no ear"
    return f"sub-{outcome.subject} {ears}"


def _passed_over_entry(item: PassedOver, key: bytes) -> dict[str, str]:
    text = f"{item.reason.text} ({item.files} file{'s' if item.files > 1 else ''})"
    return entry(series_hash(key, item.series_uid), Reason(item.reason.code, text, item.reason.advice))


def _summary(
    out: Path,
    key_file: Path,
    found: Ingest,
    persons: list[Person],
    outcomes: dict[str, Outcome],
    resumed: int,
    other: list[tuple[PassedOver, dict[str, str]]],
) -> PreprocessSummary:
    folders = {study: series.folder for person in persons for study, series in person.series}

    def problem(row: dict[str, str], folder: Path) -> Problem:
        return Problem(folder, row["study"], row["reason"], row["what_to_do"])

    ordered = [outcomes[name] for name in sorted(outcomes)]
    failures = [problem(row, folders[row["study"]]) for outcome in ordered for row in outcome.failures]
    failures += [problem(row, item.folder) for item, row in other]
    notes = [problem(row, folders[row["study"]]) for outcome in ordered for row in outcome.notes]
    counts: Counter[str] = Counter()
    for item in found.passed_over:
        if not item.reason.failure:
            counts[item.reason.text] += item.files
    return PreprocessSummary(
        out=out,
        key_file=key_file,
        files=found.files,
        series=len(found.series),
        persons=len(persons),
        ears=tuple(ear for outcome in ordered for ear in outcome.ears),
        resumed=resumed,
        failures=tuple(failures),
        notes=tuple(notes),
        passed_over=dict(counts.most_common()),
    )
