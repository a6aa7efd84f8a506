"""Files to the CT slices in them, or to the reason why they hold none. Nothing that a file holds raises."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medlangevin.imaging.reading import rejection, slice_header
from medlangevin.imaging.reading.bounded_file import open_dicom, pixel_problem
from medlangevin.imaging.reading.foreign_file import foreign_reason
from medlangevin.imaging.reading.header_values import tag_text
from medlangevin.imaging.reading.multi_frame import ENHANCED_CT, GROUPS, frame_headers
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.reading.slice_header import PLACE, SliceHeader
from medlangevin.system.progress import progress
from medlangevin.system.workers import run_all

# A file takes about a millisecond, a process a second to start.
MIN_FILES_FOR_PROGRESS = 1000
MIN_FILES_FOR_PROCESSES = 5000
CHUNK = 250
# JPEG baseline, extended and spectral selection: lossy, whatever their bit depth says.
LOSSY_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55)}
LOSSY_TAGS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
# Of every identifier that the standard gives.
DICOM_ROOT = "1.2.840.10008."
MODALITIES = {
    *("CR", "CT", "DX", "ECG", "ES", "IO", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "PX", "REG", "RF"),
    *("RTDOSE", "RTPLAN", "RTSTRUCT", "RWV", "SC", "SEG", "SR", "US", "XA"),
}
BITS = ("BitsStored", "HighBit", "PixelRepresentation")
# No other tag of a header is ever read. The person's name, id and birth date only become a keyed hash.
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("PatientID", "PatientName", "PatientBirthDate", "SpecificCharacterSet"),
    *("AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime", "TemporalPositionIdentifier"),
    *("ConvolutionKernel", *PLACE, "Rows", "Columns", "SliceThickness"),
    *("SamplesPerPixel", "BitsAllocated", "RescaleSlope", "RescaleIntercept", "RescaleType", "NumberOfFrames"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", *BITS, *LOSSY_TAGS),
    *GROUPS,
]


class FileHeaders(NamedTuple):
    """What is in one file.

    Attributes:
        slices: The slices in it.
        reason: Why there are none, or what else is in it.
        series_uid: Empty where it has none.
    """

    slices: tuple[SliceHeader, ...] = ()
    reason: Reason | None = None
    series_uid: str = ""


def read_headers(path: Path) -> FileHeaders:
    """Read the slices in one file. Only headers are read.

    Args:
        path: Any file.

    Returns:
        The slices, or why there are none.
    """
    found = _read(path)
    try:
        return FileHeaders(reason=foreign_reason(path)) if found.reason == rejection.NOT_DICOM else found
    except OSError:
        return FileHeaders(reason=rejection.CLOSED_FILE)


def _read(path: Path) -> FileHeaders:
    try:
        with open_dicom(path) as stream:
            # No preamble: the standard's file meta group or group 8 comes first, little endian.
            force = _starts_like_headless_dicom(stream)
            data = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=TAGS, force=force)
            return _interpret(path, stream, data)
    except InvalidDicomError:
        return FileHeaders(reason=rejection.NOT_DICOM)
    except OSError as error:
        # The system's own errors have a number: no right to read, a fault of the disk or of the network.
        return FileHeaders(reason=rejection.UNREADABLE if error.errno is None else rejection.CLOSED_FILE)
    except Exception:  # damaged files make pydicom raise almost anything
        return FileHeaders(reason=rejection.UNREADABLE)


def read_many(paths: Sequence[Path], *, workers: int) -> Iterator[tuple[Path, FileHeaders]]:
    """Read many files: with progress and over several processes where there are enough of them.

    Args:
        paths: Any files.
        workers: Processes; 0 reads here.

    Yields:
        Each path with what is in it, in the order given.

    Raises:
        MedlangevinError: A process was killed over the same files twice.
    """
    if len(paths) < MIN_FILES_FOR_PROGRESS:
        yield from ((path, read_headers(path)) for path in paths)
        return
    chunks = [(number, paths[number : number + CHUNK]) for number in range(0, len(paths), CHUNK)]
    early: dict[int, list[FileHeaders]] = {}
    due, done = 0, 0
    reading = run_all(_read_chunk, chunks, workers=workers if len(paths) >= MIN_FILES_FOR_PROCESSES else 0)
    with progress(len(paths), "header") as track, closing(reading) as results:
        for (number, chunk), found in results:
            early[number] = found
            done += len(chunk)
            track.advance(done)
            while due in early:
                yield from zip(paths[due : due + CHUNK], early.pop(due), strict=True)
                due += CHUNK


def _read_chunk(chunk: tuple[int, Sequence[Path]]) -> list[FileHeaders]:
    return [read_headers(path) for path in chunk[1]]


def _interpret(path: Path, stream: BinaryIO, data: pydicom.Dataset) -> FileHeaders:
    slices: list[SliceHeader] = []
    reason: Reason | None = None
    try:
        reason = _refusal(data) or _pixel_refusal(stream, data)
        if reason is None:
            if str(data.get("SOPClassUID", "")) in ENHANCED_CT:
                slices, reason = frame_headers(path, data)
            else:
                bits = tuple(str(data.get(tag)) for tag in BITS)
                slices = [slice_header.make_header(slice_header.fields_of_file(path, data), data, bits=bits)]
    except UnusableSeriesError as error:
        reason = error.reason
    except Exception:  # a value that pydicom cannot turn into what its tag holds
        if tag_text(data, "Modality") != "CT":
            raise
        reason = rejection.BAD_HEADER
    return FileHeaders(tuple(slices), reason, tag_text(data, "SeriesInstanceUID"))


def _refusal(data: pydicom.Dataset) -> Reason | None:
    sop_class = tag_text(data, "SOPClassUID")
    modality = tag_text(data, "Modality")
    if not sop_class and not modality:
        return rejection.NO_IMAGE if _meta(data, "TransferSyntaxUID") else rejection.NOT_DICOM
    if f"{sop_class}.".startswith(f"{SecondaryCaptureImageStorage}."):
        return rejection.SECONDARY
    enhanced = sop_class in ENHANCED_CT
    if not enhanced and sop_class != CTImageStorage and not (modality == "CT" and not sop_class):
        # Only a known code is repeated to the user; free text in this tag could be anything.
        return rejection.NOT_CT.with_text(f"modality {modality if modality in MODALITIES else 'unknown'}, not CT")
    # In an enhanced file every frame has a type of its own.
    if not enhanced and (problem := slice_header.image_type_problem(data.get("ImageType"))):
        return problem
    if not data.get("Rows") or not data.get("Columns"):
        return rejection.NO_PIXELS
    if not enhanced and int(data.get("NumberOfFrames", 1) or 1) > 1:
        return rejection.MULTI_FRAME
    if int(data.get("SamplesPerPixel", 1) or 1) != 1:
        return rejection.COLOUR
    syntax = _meta(data, "TransferSyntaxUID")
    if syntax and not syntax.startswith(DICOM_ROOT):
        return rejection.PRIVATE_SYNTAX
    if syntax in LOSSY_JPEG or _was_lossy(data):
        return rejection.LOSSY
    return rejection.EIGHT_BIT if _bits(data) <= 8 else None


def _was_lossy(data: pydicom.Dataset) -> bool:
    """Whether the header tells of lossy compression, also one that was undone since; 00 says there was none."""
    said, ratio, method = (tag_text(data, tag).strip() for tag in LOSSY_TAGS)
    return said in ("01", "1") or (not said and bool(method or ratio not in ("", "1", "1.0")))


def _pixel_refusal(stream: BinaryIO, data: pydicom.Dataset) -> Reason | None:
    if _meta(data, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
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
    return tag_text(meta, tag) if meta is not None else ""


def _starts_like_headless_dicom(stream: BinaryIO) -> bool:
    start = stream.read(132)
    stream.seek(0)
    return start[128:132] != b"DICM" and start[:2] in (b"\x02\x00", b"\x08\x00") and len(start) == 132
