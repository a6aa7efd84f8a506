"""What is kept of one CT slice, whether a file of its own or a frame of an enhanced file, and how tags become it."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.birth_date import identity_of
from medlangevin.imaging.reading.header_values import Tags, numbers, tag_text
from medlangevin.imaging.reading.reconstruction_kernel import UNKNOWN, sharpness
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError

# Values of ImageType that belong to pages and renderings, which some scanners send as CT images.
REPORT_PAGES = {"SCREEN SAVE", "DOSE_INFO", "PATIENT_INFO", "RESULTS", "REF_SURVIEW"}
PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "VRT", "VOLUME_RENDER", "SURFACE_RENDER"}
# Where a slice lies: the tag, what it is, and how many numbers it has.
PLACE = {
    "ImagePositionPatient": ("slice position", 3),
    "ImageOrientationPatient": ("slice orientation", 6),
    "PixelSpacing": ("pixel spacing", 2),
}
# Padding below is as good as air, and above it is as good as nothing; in between, tissue or metal may have its value.
TISSUE_HU = (-800, 4000)
# So wide a range in between is that of the values, not of padding.
WIDE_HU = 200


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
        time: Of the acquisition, HHMMSS.FFFFFF as in the header. In memory only.
        phase: Number of the temporal position.
        kernel: Which reconstruction kernel it is: a hash of its name, which is free text.
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
    time: str = ""
    phase: str = ""
    kernel: str = ""

    @property
    def padding_may_be_tissue(self) -> bool:
        """Whether tissue or metal may have the value that padding has."""
        ends = sorted(value * self.slope + self.intercept for value in self.padding or ())
        return bool(ends) and ends[1] > TISSUE_HU[0] and ends[0] < TISSUE_HU[1]


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
    slope, intercept = _rescale(tags)
    kernel = tag_text(tags, "ConvolutionKernel")
    _require_padding(common["padding"], slope, intercept)
    return SliceHeader(
        **common,
        **further,
        **_placement(tags),
        slope=slope,
        intercept=intercept,
        acquisition=tag_text(tags, "AcquisitionNumber"),
        sharpness=sharpness(kernel),
        thickness_mm=_thickness_mm(tags),
        # A date and time begins with eight digits of date.
        time=tag_text(tags, "AcquisitionDateTime")[8:] or tag_text(tags, "AcquisitionTime"),
        phase=tag_text(tags, "TemporalPositionIdentifier"),
        kernel=hashlib.sha256(kernel.encode(errors="backslashreplace")).hexdigest()[:16],
    )


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


def _rescale(tags: Tags) -> tuple[float, float]:
    """Slope and intercept of the line that turns stored values into HU. A negative slope is legal."""
    slope, intercept = (_single(tags, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None or intercept is None:
        raise UnusableSeriesError(rejection.NO_RESCALE)
    if slope == 0:
        raise UnusableSeriesError(rejection.BAD_RESCALE)
    # US: unspecified. Anything else is a map of something (iodine, effective atomic number) in CT's clothes.
    if tag_text(tags, "RescaleType").upper().strip() not in ("", "HU", "HU_MOD", "US"):
        raise UnusableSeriesError(rejection.NOT_HU)
    return slope, intercept


def _single(tags: Tags, name: str) -> float | None:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    unreadable = rejection.BAD_RESCALE.with_text(f"the {words} in the header cannot be read as a number")
    found = numbers(tags, name, unreadable)
    if len(found) > 1:
        raise UnusableSeriesError(unreadable)
    return found[0] if found else None


def _thickness_mm(tags: Tags) -> float:
    """The value of SliceThickness; 0 where it is absent or not a length."""
    try:
        found = numbers(tags, "SliceThickness", rejection.NO_GEOMETRY)
    except UnusableSeriesError:
        return 0.0
    return found[0] if len(found) == 1 and found[0] > 0 else 0.0


def _placement(tags: Tags) -> dict[str, Any]:
    """The fields that say where a slice lies."""
    place = []
    for name, (words, count) in PLACE.items():
        unreadable = rejection.NO_GEOMETRY.with_text(f"the {words} in the header cannot be read as {count} numbers")
        values = numbers(tags, name, unreadable)
        if not values:
            raise UnusableSeriesError(rejection.NO_GEOMETRY.with_text(f"the header lacks {words}"))
        if len(values) != count or (name == "PixelSpacing" and min(values) <= 0):
            raise UnusableSeriesError(unreadable)
        place.append(values)
    row, column = np.reshape(place[1], (2, 3))
    # Unit vectors at right angles, to the digits that writers give.
    products = np.array([row @ row, column @ column, row @ column])
    if np.abs(products - [1, 1, 0]).max() >= 1e-3:
        raise UnusableSeriesError(rejection.ORIENTATION)
    return dict(zip(("position", "orientation", "spacing_mm"), place, strict=True))


def _require_padding(padding: tuple[int, int] | None, slope: float, intercept: float) -> None:
    """Refuse a range of padding that tissue lies in."""
    if padding is not None:
        low, high = sorted(value * slope + intercept for value in padding)
        if min(high, TISSUE_HU[1]) - max(low, TISSUE_HU[0]) > WIDE_HU:
            text = f"the padding range of the header ({padding[0]} to {padding[1]}) holds the values of tissue"
            raise UnusableSeriesError(rejection.PADDING.with_text(text))


def _padding(data: pydicom.Dataset) -> tuple[int, int] | None:
    """The stored values that PixelPaddingValue (to PixelPaddingRangeLimit) names, signed as the pixels are."""
    ends = [data.get(tag) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    bits, signed = int(data.get("BitsAllocated", 16)), bool(data.get("PixelRepresentation", 0))
    # Writers often give a negative value as its unsigned bit pattern or the other way round.
    values = [end % 2**bits for end in ends if isinstance(end, int)]
    values = [value - 2**bits if signed and value >= 2 ** (bits - 1) else value for value in values]
    return (min(values), max(values)) if isinstance(ends[0], int) else None
