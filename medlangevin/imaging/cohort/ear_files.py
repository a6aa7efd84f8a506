"""What is written of one ear: crop, sidecar and picture, or the picture and figures of one that failed."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.cohort.qc_figure import save_qc_figure
from medlangevin.imaging.cohort.series_choice import Seen
from medlangevin.imaging.registration.crop import Crop
from medlangevin.imaging.registration.find_ears import FoundEar
from medlangevin.imaging.registration.reference import Reference
from medlangevin.system.files import write_json
from medlangevin.system.nifti import write_image


class CroppedEar(NamedTuple):
    """One ear, cropped. ``study``: its series' hash; ``wide``: a larger field of view; ``scan``: its grid."""

    study: str
    seen: Seen
    crop: Crop
    wide: sitk.Image
    scan: dict[str, Any]

    @property
    def found(self) -> FoundEar:
        """Its registration, figures and verdict."""
        return self.seen.found

    @property
    def side(self) -> str:
        """L or R, from the image alone."""
        return "L" if self.found.fit.mirrored else "R"


def ear_name(subject: str, side: str) -> str:
    """The common part of an ear's file names."""
    return f"sub-{subject}_side-{side}_ct"


def failed_name(subject: str, side: str) -> str:
    """The name of the picture of an ear that failed, without its ending; there is no other file of it."""
    return f"sub-{subject}_side-{side}_failed"


def write_ear(
    subject: str, ear: CroppedEar, out: Path, reference: Reference, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Write crop, picture and sidecar; return the record for status.json."""
    name = ear_name(subject, ear.side)
    crop = out / "crops" / f"{name}.nii.gz"
    write_image(crop, ear.crop.image)
    _write_picture(out / "qc" / f"{name}.png", subject, ear, reference)
    record = {**_record(subject, ear), "sha256": hashlib.sha256(crop.read_bytes()).hexdigest()}
    sidecar = {
        **record,
        "mirrored": ear.found.fit.mirrored,
        "reference_to_scan_lps": np.round(ear.found.fit.matrix, 6).tolist(),
        "scan": ear.scan,
        **provenance,
    }
    # The sidecar comes last: where it is, the ear is complete.
    write_json(out / "crops" / f"{name}.json", sidecar)
    return record


def write_failed(subject: str, ear: CroppedEar, out: Path, reference: Reference) -> dict[str, Any]:
    """Write the picture of an ear that was found but cannot be used; return the record for status.json."""
    _write_picture(out / "qc" / f"{failed_name(subject, ear.side)}.png", subject, ear, reference)
    return _record(subject, ear)


def _record(subject: str, ear: CroppedEar) -> dict[str, Any]:
    figures, verdict = ear.found.figures, ear.found.verdict
    return {
        "subject": subject,
        "side": ear.side,
        "series": ear.study,
        "verdict": verdict.word,
        "code": verdict.code,
        "why": verdict.why,
        "ncc": _number(figures.fit.ncc),
        "labyrinth_ncc": _number(figures.fit.labyrinth_ncc),
        "mirror_ncc": _number(figures.mirror_ncc),
        "runner_up_ncc": _number(figures.fit.runner_up_ncc),
        "coil_ncc": _number(figures.coil.ncc),
        "coil_weakest_ncc": _number(figures.coil.weakest_ncc),
        "agreement_mm": _number(figures.fit.agreement_mm),
        "residual_mm": _number(figures.fit.residual_mm),
        "coverage": _number(figures.coverage),
        "step_ratio": _number(figures.step_ratio),
    }


def _number(value: float) -> float | None:
    """JSON has no infinity (no second start led anywhere) and no NaN (no blocks were matched)."""
    return round(float(value), 4) if np.isfinite(value) else None


def _write_picture(path: Path, subject: str, ear: CroppedEar, reference: Reference) -> None:
    save_qc_figure(
        path,
        ear.crop.image,
        ear.wide,
        reference,
        subject=subject,
        mirrored=ear.found.fit.mirrored,
        verdict=ear.found.verdict,
        figures=ear.found.figures,
    )
