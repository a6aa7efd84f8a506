"""All scans of one person to at most two crops: the unit of work, done once in one process and skipped afterwards."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.crop import Crop, extract, wide_view
from medlangevin.imaging.decode import read_stack, read_volume_file
from medlangevin.imaging.geometry import Stack, stacks
from medlangevin.imaging.image_file import write_image
from medlangevin.imaging.ingest import Series
from medlangevin.imaging.qc_figure import save_qc_figure
from medlangevin.imaging.quality import Verdict, judge, refusal
from medlangevin.imaging.register import Fit, Matcher, distinct_ears, mirror_rival
from medlangevin.imaging.rejection import Reason, UnusableSeriesError
from medlangevin.io import write_json

# Exports often hold thick or short series beside the good one; then these are no failure.
BESIDE_A_GOOD_SERIES = {"too-coarse", "too-small", "too-few-slices"}


@dataclass(frozen=True)
class Person:
    """Work for one process. ``series``: pairs of series hash and series; ``provenance`` goes into every sidecar."""

    subject: str
    inputs: str
    series: tuple[tuple[str, Series], ...]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a person, as in status.json. ``failures`` and ``notes``: study, code, reason, what_to_do."""

    subject: str
    inputs: str
    ears: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)


class Ear(NamedTuple):
    """One ear, cropped; ``wide``: a larger field of view for the picture; ``scan``: its grid."""

    study: str
    fit: Fit
    mirror_ncc: float
    verdict: Verdict
    crop: Crop
    wide: sitk.Image
    scan: dict[str, Any]

    @property
    def side(self) -> str:
        """L or R, from the image alone."""
        return "L" if self.fit.mirrored else "R"


def process_person(person: Person, out: Path, matcher: Matcher) -> Outcome:
    """Crop every ear of a person; write crops, sidecars and pictures. One scan at a time is in memory."""
    best: dict[str, Ear] = {}
    failures: list[dict[str, str]] = []
    notes: list[dict[str, str]] = []
    for study, series in person.series:
        try:
            ears = series_ears(study, series, matcher)
        except UnusableSeriesError as error:
            failures.append(entry(study, error.reason))
            continue
        except Exception as error:
            # One scan that nobody thought of must not end a night's run. The message could hold a path: only its kind.
            text = f"it could not be processed ({type(error).__name__})"
            failures.append(entry(study, Reason("internal", text, "run it alone and report the error")))
            continue
        for ear in ears:
            rival = best.get(ear.side)
            if rival is not None:
                loser = max(ear, rival, key=_rank).study
                notes.append(entry(loser, Reason("same-ear", f"another series shows ear {ear.side} better", "nothing")))
            best[ear.side] = ear if rival is None else min(ear, rival, key=_rank)
    written = [_write(person, best[side], out, matcher) for side in sorted(best)]
    if written:
        notes += [item for item in failures if item["code"] in BESIDE_A_GOOD_SERIES]
        failures = [item for item in failures if item["code"] not in BESIDE_A_GOOD_SERIES]
    return Outcome(person.subject, person.inputs, written, failures, notes)


def series_ears(study: str, series: Series, matcher: Matcher) -> list[Ear]:
    """The ears in one series that are fit for use. Raises UnusableSeriesError with the reason when there is none."""
    ears: list[Ear] = []
    refused: list[Verdict] = []
    for scan, tilt in volumes(series):
        fits = matcher.fits(scan)
        for fit in distinct_ears(fits):
            crop = extract(scan, fit.matrix)
            rival = mirror_rival(fit, fits)
            verdict = judge(fit, rival, crop.coverage)
            if verdict.word == "failed":
                refused.append(verdict)
                continue
            grid = {
                "spacing_mm": [round(value, 4) for value in scan.GetSpacing()],
                "size": list(scan.GetSize()),
                "tilt_deg": round(tilt, 2),
            }
            ears.append(Ear(study, fit, rival, verdict, crop, wide_view(scan, fit.matrix), grid))
    if not ears:
        raise UnusableSeriesError(refusal(refused))
    return ears


def entry(study: str, reason: Reason) -> dict[str, str]:
    """A row of failures.tsv."""
    return {"study": study, "code": reason.code, "reason": reason.text, "what_to_do": reason.advice}


def ear_name(subject: str, side: str) -> str:
    """The common part of an ear's file names."""
    return f"sub-{subject}_side-{side}_ct"


def volumes(series: Series) -> list[tuple[sitk.Image, float]]:
    """Every volume of a series as HU in LPS, and its tilt in degrees. Raises UnusableSeriesError."""
    if series.volume_file is not None:
        return [(read_volume_file(series.volume_file), 0.0)]
    found: list[Stack] = stacks(series.slices)
    return [(read_stack(stack), stack.geometry.tilt_deg) for stack in found]


def _rank(ear: Ear) -> tuple[int, float, float]:
    """Smaller is better: trusted before doubtful, thin slices before thick, then the better fit."""
    return int(ear.verdict.word != "ok"), round(max(ear.scan["spacing_mm"]), 2), -ear.fit.ncc


def _write(person: Person, ear: Ear, out: Path, matcher: Matcher) -> dict[str, Any]:
    name = ear_name(person.subject, ear.side)
    crop = out / "crops" / f"{name}.nii.gz"
    write_image(crop, ear.crop.image)
    save_qc_figure(out / "qc" / f"{name}.png", ear.crop.image, ear.wide, matcher.reference, _title(person.subject, ear))
    record = {
        "subject": person.subject,
        "side": ear.side,
        "series": ear.study,
        "verdict": ear.verdict.word,
        "why": ear.verdict.why,
        "ncc": round(ear.fit.ncc, 4),
        "labyrinth_ncc": round(ear.fit.labyrinth_ncc, 4),
        "mirror_ncc": round(ear.mirror_ncc, 4),
        "coverage": round(ear.crop.coverage, 4),
        "sha256": hashlib.sha256(crop.read_bytes()).hexdigest(),
    }
    sidecar = {
        **record,
        "mirrored": ear.fit.mirrored,
        "reference_to_scan_lps": np.round(ear.fit.matrix, 6).tolist(),
        "scan": ear.scan,
        **person.provenance,
    }
    # The sidecar comes last: where it is, the ear is complete.
    write_json(out / "crops" / f"{name}.json", sidecar)
    return record


def _title(subject: str, ear: Ear) -> str:
    side = {"L": "LEFT ear (mirrored to right)", "R": "RIGHT ear"}[ear.side]
    figures = f"correlation {ear.fit.ncc:.2f}, mirrored {ear.mirror_ncc:.2f}"
    return f"sub-{subject}   {side}   {ear.verdict.word.upper()}   {figures}" + (
        f"\n{ear.verdict.why}" if ear.verdict.why else ""
    )
