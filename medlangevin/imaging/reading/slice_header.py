"""What is kept of one CT slice, whether a file of its own or a frame of an enhanced file, and how tags become it."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pydicom

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.birth_date import identity_of
from medlangevin.imaging.reading.reconstruction_kernel import UNKNOWN, sharpness
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError

# Values of ImageType that belong to pages and renderings, which some scanners send as CT images.
REPORT_PAGES = {"SCREEN SAVE", "DOSE_INFO", "PATIENT_INFO", "RESULTS", "REF_SURVIEW"}
PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "VRT", "VOLUME_RENDER", "SURFACE_RENDER"}
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")

Tags: TypeAlias = pydicom.Dataset | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What is needed of one slice.

    Attributes:
        path: Its file.
        person: What the header says of the person, and in an ``Ingest`` what tells persons apart. In memory only.
        series_uid: Empty where the header has none.
        instance_uid: SOPInstanceUID of the file.
        acquisition: Number of the acquisition.
        position: LPS of the first pixel, mm.
        orientation: Row and column directions in LPS, (6,).
        spacing_mm: Between rows, between columns.
        shape: Rows, columns.
        slope: To HU: ``slope`` times the stored value plus ``intercept``.
        intercept: See ``slope``.
        padding: The smallest and largest stored value that mean no measurement.
        sharpness: Class of the reconstruction kernel: 2 sharp, 1 unknown, 0 soft.
        bits: How values are stored, to compare slices by.
        frame: Index in an enhanced file, None in a file of its own.
        study_uid: Empty where the header has none.
        thickness_mm: 0 where it is not known.
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


def fields_of_file(path: Path, data: pydicom.Dataset) -> dict[str, Any]:
    """Read the fields of a ``SliceHeader`` that all slices in one file share.

    Args:
        path: The file.
        data: Its header.

    Returns:
        Name and value of each field.
    """
    return {
        "path": path,
        "person": identity_of(data),
        "study_uid": tag_text(data, "StudyInstanceUID"),
        "series_uid": tag_text(data, "SeriesInstanceUID"),
        "instance_uid": tag_text(data, "SOPInstanceUID"),
        "shape": (int(data.Rows), int(data.Columns)),
        "padding": _padding(data),
    }


def make_header(common: dict[str, Any], tags: Tags, **further: Any) -> SliceHeader:
    """Make the header of one slice from the values of its tags.

    Args:
        common: As ``fields_of_file`` gives it.
        tags: The values of the slice by keyword: place, rescale, acquisition, reconstruction kernel, thickness.
        **further: Other fields of the slice.

    Returns:
        The header.

    Raises:
        UnusableSeriesError: It is not known where the slice lies or what its values mean.
    """
    return SliceHeader(
        **common,
        **further,
        **_placement(tags),
        **_rescale(tags),
        acquisition=tag_text(tags, "AcquisitionNumber"),
        sharpness=sharpness(joined_values(tags.get("ConvolutionKernel"))),
        thickness_mm=_thickness_mm(tags.get("SliceThickness")),
    )


def tag_text(data: Tags, tag: str) -> str:
    """Read a tag as text.

    Args:
        data: A header.
        tag: Keyword of the tag.

    Returns:
        Its value; empty where it is absent or empty.
    """
    return str(data.get(tag, "") or "")


def joined_values(value: Any) -> str:
    """Write one or several values of a tag as DICOM does.

    Args:
        value: A text, a sequence or None.

    Returns:
        The values, parted by a backslash.
    """
    return value if isinstance(value, str) else "\\".join(str(item) for item in value or ())


def image_type_problem(image_type: str | Iterable[Any] | None) -> Reason | None:
    """Say why an image is not a slice of a volume.

    Args:
        image_type: The value or values of ImageType (or FrameType).

    Returns:
        The reason; None where it may be a slice.
    """
    values = [image_type] if isinstance(image_type, str) else image_type or ()
    names = {str(value).upper().strip() for value in values}
    words = names | {word for name in names for word in re.split(r"[^A-Z]+", name)}
    if "LOCALIZER" in words:
        return rejection.LOCALIZER
    if names & REPORT_PAGES:
        return rejection.SECONDARY
    return rejection.PROJECTION if words & PROJECTIONS else None


def _rescale(data: Tags) -> dict[str, Any]:
    """Slope and intercept of the line that turns stored values into HU. A negative slope is legal."""
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        raise UnusableSeriesError(rejection.NO_RESCALE)
    slope, intercept = float(slope), float(intercept)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        raise UnusableSeriesError(rejection.BAD_RESCALE)
    # US: unspecified. Anything else is a map of something (iodine, effective atomic number) in CT's clothes.
    if tag_text(data, "RescaleType").upper().strip() not in ("", "HU", "HU_MOD", "US"):
        raise UnusableSeriesError(rejection.NOT_HU)
    return {"slope": slope, "intercept": intercept}


def _thickness_mm(value: Any) -> float:
    """The value of SliceThickness; 0 where it is absent or not a length."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def _placement(tags: Tags) -> dict[str, Any]:
    """The fields that say where a slice lies."""
    place = [tuple(float(value) for value in tags.get(name) or ()) for name in PLACE]
    if [len(values) for values in place] != [3, 6, 2] or not np.isfinite(np.concatenate(place)).all():
        raise UnusableSeriesError(rejection.NO_GEOMETRY)
    if min(place[2]) <= 0:
        raise UnusableSeriesError(rejection.NO_GEOMETRY)
    row, column = np.reshape(place[1], (2, 3))
    # Unit vectors at right angles, to the digits that writers give.
    products = np.array([row @ row, column @ column, row @ column])
    if np.abs(products - [1, 1, 0]).max() >= 1e-3:
        raise UnusableSeriesError(rejection.ORIENTATION)
    return dict(zip(("position", "orientation", "spacing_mm"), place, strict=True))


def _padding(data: pydicom.Dataset) -> tuple[int, int] | None:
    """The stored values that PixelPaddingValue (to PixelPaddingRangeLimit) names, signed as the pixels are."""
    ends = [data.get(tag) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    bits, signed = int(data.get("BitsAllocated", 16)), bool(data.get("PixelRepresentation", 0))
    # Writers often give a negative value as its unsigned bit pattern or the other way round.
    values = [end % 2**bits for end in ends if isinstance(end, int)]
    values = [value - 2**bits if signed and value >= 2 ** (bits - 1) else value for value in values]
    return (min(values), max(values)) if isinstance(ends[0], int) else None
