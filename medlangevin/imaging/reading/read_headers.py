"""One file to the CT slices in it, or to the reason why it holds none. Nothing that a file holds raises."""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.bounded_file import open_dicom, pixel_problem
from medlangevin.imaging.reading.reconstruction_kernel import sharpness
from medlangevin.imaging.reading.multi_frame import ENHANCED_CT, GROUPS, frame_headers
from medlangevin.imaging.reading.rejection import Reason
from medlangevin.imaging.reading.slice_header import (
    SliceHeader,
    image_type_problem,
    joined,
    padding,
    person_key,
    placement,
    rescale,
    text,
    thickness_mm,
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE_ROOT = "1.2.840.10008.5.1.4.1.1.7"
DEFLATED = "1.2.840.10008.1.2.1.99"
# JPEG baseline, extended and spectral selection: lossy, whatever their bit depth says.
LOSSY_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55)}
MODALITIES = {
    *("CR", "CT", "DX", "ECG", "ES", "IO", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "PX", "REG", "RF"),
    *("RTDOSE", "RTPLAN", "RTSTRUCT", "RWV", "SC", "SEG", "SR", "US", "XA"),
}
BITS = ("BitsStored", "HighBit", "PixelRepresentation")
# No other tag of a header is ever read. The person's name, id and birth date only become a keyed hash.
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("PatientID", "PatientName", "PatientBirthDate", "SpecificCharacterSet", "AcquisitionNumber"),
    *("ConvolutionKernel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"),
    "SliceThickness",
    *("SamplesPerPixel", "BitsAllocated", "RescaleSlope", "RescaleIntercept", "RescaleType", "NumberOfFrames"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", *BITS),
    *GROUPS,
]


class FileHeaders(NamedTuple):
    """The slices in one file; ``reason``: why there are none, or what else is in it; ``series_uid`` if it has one."""

    slices: tuple[SliceHeader, ...] = ()
    reason: Reason | None = None
    series_uid: str = ""


def read_headers(path: Path) -> FileHeaders:
    """The slices in one file. Only headers are read."""
    try:
        with open_dicom(path) as stream:
            # No preamble: the standard's file meta group or group 8 comes first, little endian.
            force = _starts_like_headless_dicom(stream)
            data = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS, force=force)
            return _interpret(path, stream, data)
    except InvalidDicomError:
        return FileHeaders(reason=rejection.NOT_DICOM)
    except Exception:  # damaged files make pydicom raise almost anything
        return FileHeaders(reason=rejection.UNREADABLE)


def _interpret(path: Path, stream: BinaryIO, data: pydicom.Dataset) -> FileHeaders:
    uid = text(data, "SeriesInstanceUID")
    reason = _refusal(data) or _pixel_refusal(stream, data)
    if reason is not None:
        return FileHeaders((), reason, uid)
    if str(data.get("SOPClassUID", "")) in ENHANCED_CT:
        slices, reason = frame_headers(path, data)
        return FileHeaders(tuple(slices), reason, uid)
    found = _classic(path, data)
    return FileHeaders((), found, uid) if isinstance(found, Reason) else FileHeaders((found,), None, uid)


def _classic(path: Path, data: pydicom.Dataset) -> SliceHeader | Reason:
    place = placement(*(data.get(tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")))
    if isinstance(place, Reason):
        return place
    scale = rescale(data)
    if isinstance(scale, Reason):
        return scale
    return SliceHeader(
        path=path,
        person=person_key(data),
        series_uid=text(data, "SeriesInstanceUID"),
        instance_uid=text(data, "SOPInstanceUID"),
        acquisition=text(data, "AcquisitionNumber"),
        **place._asdict(),
        shape=(int(data.Rows), int(data.Columns)),
        slope=scale[0],
        intercept=scale[1],
        padding=padding(data),
        sharpness=sharpness(joined(data.get("ConvolutionKernel"))),
        bits=tuple(str(data.get(tag)) for tag in BITS),
        thickness_mm=thickness_mm(data.get("SliceThickness")),
        study_uid=text(data, "StudyInstanceUID"),
    )


def _refusal(data: pydicom.Dataset) -> Reason | None:
    sop_class = text(data, "SOPClassUID")
    modality = text(data, "Modality")
    if not sop_class and not modality:
        return rejection.NO_IMAGE if _meta(data, "TransferSyntaxUID") else rejection.NOT_DICOM
    if f"{sop_class}.".startswith(f"{SECONDARY_CAPTURE_ROOT}."):
        return rejection.SECONDARY
    enhanced = sop_class in ENHANCED_CT
    if not enhanced and sop_class != CT_IMAGE and not (modality == "CT" and not sop_class):
        # Only a known code is repeated to the user; free text in this tag could be anything.
        return rejection.other_modality(modality if modality in MODALITIES else "unknown")
    image_type = data.get("ImageType") or []
    # In an enhanced file every frame has a type of its own.
    problem = None if enhanced else image_type_problem([image_type] if isinstance(image_type, str) else image_type)
    if problem is not None:
        return problem
    if not data.get("Rows") or not data.get("Columns"):
        return rejection.NO_PIXELS
    if not enhanced and int(data.get("NumberOfFrames", 1) or 1) > 1:
        return rejection.MULTI_FRAME
    if int(data.get("SamplesPerPixel", 1) or 1) != 1:
        return rejection.COLOUR
    if _meta(data, "TransferSyntaxUID") in LOSSY_JPEG:
        return rejection.LOSSY
    return rejection.EIGHT_BIT if _bits(data) <= 8 else None


def _pixel_refusal(stream: BinaryIO, data: pydicom.Dataset) -> Reason | None:
    if _meta(data, "TransferSyntaxUID") == DEFLATED:
        # The stream is compressed as a whole: a truncated one could not have been read to this point.
        return None
    explicit, little_endian = not data.original_encoding[0], bool(data.original_encoding[1])
    pixels = int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames", 1) or 1)
    needed = pixels * _bits(data) // 8
    return pixel_problem(stream, explicit=explicit, little_endian=little_endian, expected_bytes=needed)


def _bits(data: pydicom.Dataset) -> int:
    return int(data.get("BitsAllocated", 16) or 16)


def _meta(data: pydicom.Dataset, tag: str) -> str:
    meta: Any = getattr(data, "file_meta", None)
    return text(meta, tag) if meta is not None else ""


def _starts_like_headless_dicom(stream: BinaryIO) -> bool:
    start = stream.read(132)
    stream.seek(0)
    return start[128:132] != b"DICM" and start[:2] in (b"\x02\x00", b"\x08\x00") and len(start) == 132
