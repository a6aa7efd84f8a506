"""What is written of one ear: crop, sidecar and picture, or the picture and figures of one that failed."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from medlangevin.imaging.cohort.qc_figure import save_qc_figure
from medlangevin.imaging.cohort.series_choice import RankedEar
from medlangevin.imaging.registration.find_ears import FoundEar
from medlangevin.imaging.registration.reference import Reference
from medlangevin.system.files import write_json
from medlangevin.system.nifti import write_image


class CroppedEar(NamedTuple):
    """One ear of one series, cropped.

    Attributes:
        study: Hash of its series.
        ranked: Its registration and verdict, and what ranks it among the series of the same ear.
        crop: The crop, int16 HU in the reference frame.
        wide: A larger field of view for the picture, float32 HU in the reference frame.
        scan: The scan's grid, for the sidecar.
    """

    study: str
    ranked: RankedEar
    crop: sitk.Image
    wide: sitk.Image
    scan: dict[str, Any]

    @property
    def found(self) -> FoundEar:
        """Its registration, figures and verdict."""
        return self.ranked.found

    @property
    def side(self) -> str:
        """L or R, from the image alone."""
        return "L" if self.found.fit.mirrored else "R"


def ear_name(subject: str, side: str, *, failed: bool = False) -> str:
    """The common part of the names of an ear's files.

    Args:
        subject: Pseudonym of the person.
        side: L or R.
        failed: Whether the ear failed; then its picture is its only file.

    Returns:
        The name without folder and ending.
    """
    return f"sub-{subject}_side-{side}_{'failed' if failed else 'ct'}"


def write_ear(
    subject: str, ear: CroppedEar, out: Path, reference: Reference, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Write crop, picture and sidecar of an ear; of one that was found but cannot be used, the picture alone.

    Args:
        subject: Pseudonym of the person.
        ear: The ear.
        out: The output folder.
        reference: Drawn as contours into the picture.
        provenance: What goes into the sidecar beside the record.

    Returns:
        The record for status.json.
    """
    record = _record(subject, ear)
    failed = record["verdict"] == "failed"
    name = ear_name(subject, ear.side, failed=failed)
    save_qc_figure(out / "qc" / f"{name}.png", ear.crop, ear.wide, reference, subject, ear.found)
    if failed:
        return record
    crop = out / "crops" / f"{name}.nii.gz"
    write_image(crop, ear.crop)
    record["sha256"] = hashlib.sha256(crop.read_bytes()).hexdigest()
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


def _record(subject: str, ear: CroppedEar) -> dict[str, Any]:
    verdict = ear.found.verdict
    return {
        "subject": subject,
        "side": ear.side,
        "series": ear.study,
        "verdict": verdict.word,
        "code": verdict.code,
        "why": verdict.why,
        # JSON has no infinity (no second start led anywhere) and no NaN (no blocks were matched).
        **{
            name: round(float(value), 4) if np.isfinite(value) else None
            for name, value in ear.found.figures.values.items()
        },
    }
