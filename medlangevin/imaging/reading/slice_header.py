"""What is kept of one CT slice, whether a file of its own or a frame of an enhanced file, and how tags become it."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.reconstruction_kernel import UNKNOWN
from medlangevin.imaging.reading.rejection import Reason

# Values of ImageType that belong to pages and renderings, which some scanners send as CT images.
PAGES = {"SCREEN SAVE", "DOSE_INFO", "PATIENT_INFO", "RESULTS", "REF_SURVIEW"}
PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "VRT", "VOLUME_RENDER", "SURFACE_RENDER"}
# Anonymisers write such birth dates, the same for everybody.
LAST_PLACEHOLDER_YEAR = "1900"


class Placement(NamedTuple):
    """Where a slice lies in LPS: its first pixel, its row and column directions, mm between rows and columns."""

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What is needed of one slice. ``position`` and ``orientation`` in LPS; ``spacing_mm`` (between rows, columns).

    ``padding``: the smallest and largest stored value that mean no measurement. ``sharpness``: the class of the
    reconstruction kernel, 2 sharp, 1 unknown, 0 soft. ``bits``: how values are stored, to compare slices by.
    ``frame``: index in an enhanced file, None in a file of its own. ``thickness_mm``: 0 where it is not known.
    """

    path: Path
    person: str
    series_uid: str
    instance_uid: str
    acquisition: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    sharpness: int = UNKNOWN
    bits: tuple[str, ...] = ()
    frame: int | None = None
    study_uid: str = ""
    thickness_mm: float = 0.0


def text(data: pydicom.Dataset, tag: str) -> str:
    """The value of a tag as text; empty where it is absent or empty."""
    return str(data.get(tag, "") or "")


def person_key(data: pydicom.Dataset) -> str:
    """What tells persons apart: id (else name) and birth date, and without a birth date the study. In memory only.

    Anonymised exports often give everybody one placeholder id and no birth date. Taking such scans for one person's
    would lose all but two ears; taking two studies of one person for two persons' is the smaller harm.
    """
    identifier, name, born = (text(data, tag).strip() for tag in ("PatientID", "PatientName", "PatientBirthDate"))
    born = "" if born[:4] <= LAST_PLACEHOLDER_YEAR else born
    study = "" if born and (identifier or name) else text(data, "StudyInstanceUID")
    return f"{'id' if identifier else 'name'}:{identifier or name}|born:{born}|study:{study}"


def image_type_problem(values: Iterable[Any]) -> Reason | None:
    """Why an image of this ImageType (or FrameType) is no slice of a volume."""
    names = {str(value).upper().strip() for value in values}
    words = names | {word for name in names for word in re.split(r"[^A-Z]+", name)}
    if "LOCALIZER" in words:
        return rejection.LOCALIZER
    if names & PAGES:
        return rejection.SECONDARY
    return rejection.PROJECTION if words & PROJECTIONS else None


def rescale(data: pydicom.Dataset) -> tuple[float, float] | Reason:
    """Slope and intercept to HU of a header or of a frame's group, or why there are none. A negative slope is legal."""
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        return rejection.NO_RESCALE
    slope, intercept = float(slope), float(intercept)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        return rejection.BAD_RESCALE
    # US: unspecified. Anything else is a map of something (iodine, effective atomic number) in CT's clothes.
    kind = text(data, "RescaleType").upper().strip()
    return (slope, intercept) if kind in ("", "HU", "HU_MOD", "US") else rejection.NOT_HU


def padding(data: pydicom.Dataset) -> tuple[int, int] | None:
    """The stored values that PixelPaddingValue (to PixelPaddingRangeLimit) names, signed as the pixels are."""
    ends = [data.get(tag) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    bits, signed = int(data.get("BitsAllocated", 16)), bool(data.get("PixelRepresentation", 0))
    # Writers often give a negative value as its unsigned bit pattern or the other way round.
    values = [end % 2**bits for end in ends if isinstance(end, int)]
    values = [value - 2**bits if signed and value >= 2 ** (bits - 1) else value for value in values]
    return (min(values), max(values)) if isinstance(ends[0], int) else None


def thickness_mm(value: Any) -> float:
    """SliceThickness; 0 where it is absent or no length."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def joined(value: Any) -> str:
    """One or several values of a tag as DICOM writes them, parted by a backslash."""
    return value if isinstance(value, str) else "\\".join(str(item) for item in value or ())


def placement(position: Any, orientation: Any, spacing: Any) -> Placement | Reason:
    """ImagePositionPatient, ImageOrientationPatient and PixelSpacing as numbers, or what is wrong with them."""
    if not position or not orientation or not spacing:
        return rejection.NO_GEOMETRY
    place = Placement(*(tuple(float(value) for value in values) for values in (position, orientation, spacing)))
    if [len(values) for values in place] != [3, 6, 2] or not np.isfinite(np.concatenate(place)).all():
        return rejection.NO_GEOMETRY
    if min(place.spacing_mm) <= 0:
        return rejection.NO_GEOMETRY
    row, column = np.reshape(place.orientation, (2, 3))
    # Unit vectors at right angles, to the digits that writers give.
    products = np.array([row @ row, column @ column, row @ column])
    return place if np.abs(products - [1, 1, 0]).max() < 1e-3 else rejection.ORIENTATION
