"""Find the CT series in any folder tree: headers by pydicom, grouped by series; all else is named and passed over."""

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from medlangevin.imaging import rejection
from medlangevin.imaging.kernel import UNKNOWN, sharpness
from medlangevin.imaging.rejection import Reason

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
SECONDARY_CAPTURE_ROOT = "1.2.840.10008.5.1.4.1.1.7"
# JPEG baseline, extended and spectral selection: lossy, whatever their bit depth says.
LOSSY_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55)}
MODALITIES = {
    *("CR", "CT", "DX", "ECG", "ES", "IO", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "PX", "REG", "RF"),
    *("RTDOSE", "RTPLAN", "RTSTRUCT", "RWV", "SC", "SEG", "SR", "US", "XA"),
}
VOLUME_ENDINGS = (".nii", ".nii.gz", ".nrrd")

# Nothing outside this list is ever read into memory. The person's name, id and birth date only become a keyed hash.
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("PatientID", "PatientName", "PatientBirthDate", "SpecificCharacterSet", "AcquisitionNumber"),
    "ConvolutionKernel",
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel"),
    *(
        "BitsAllocated",
        "RescaleSlope",
        "RescaleIntercept",
        "PixelPaddingValue",
        "PixelRepresentation",
        "NumberOfFrames",
    ),
]


@dataclass(frozen=True)
class SliceHeader:
    """What is needed of one file. ``position`` and ``orientation`` in LPS; ``spacing_mm`` (between rows, columns).

    ``sharpness``: the class of the reconstruction kernel, 2 sharp, 1 unknown, 0 soft.
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
    padding: int | None
    sharpness: int = UNKNOWN


@dataclass(frozen=True)
class Series:
    """The slices of one series with one orientation, matrix and pixel size, or one volume file (NIfTI, NRRD)."""

    person: str
    series_uid: str
    slices: tuple[SliceHeader, ...] = ()
    volume_file: Path | None = None

    @property
    def folder(self) -> Path:
        """Where it lies, for the terminal only."""
        return self.volume_file or self.slices[0].path.parent

    @property
    def sharpness(self) -> int:
        """The class of the reconstruction kernel: 2 sharp (bone), 1 unknown (as for volume files), 0 soft."""
        return self.slices[0].sharpness if self.slices else UNKNOWN


@dataclass(frozen=True)
class PassedOver:
    """Files of one folder that gave no series, for one reason."""

    folder: Path
    reason: Reason
    files: int
    series_uid: str = ""


@dataclass(frozen=True)
class Ingest:
    """Everything found below a folder."""

    series: tuple[Series, ...]
    passed_over: tuple[PassedOver, ...]
    files: int


def ingest(raw: Path) -> Ingest:
    """Read every header below ``raw``. Order of files and names play no part in the result."""
    groups: dict[tuple[Any, ...], list[SliceHeader]] = {}
    rejected: dict[tuple[Path, Reason, str], int] = {}
    volumes: list[Series] = []
    count = 0
    for path in _files(raw):
        count += 1
        if path.name.lower().endswith(VOLUME_ENDINGS):
            name = path.relative_to(raw).as_posix()
            volumes.append(Series(person=f"file:{name}", series_uid=f"file:{name}", volume_file=path))
            continue
        header = read_header(path)
        if isinstance(header, SliceHeader):
            groups.setdefault(_group_key(header), []).append(header)
        else:
            reason, series_uid = header
            key = (path.parent, reason, series_uid)
            rejected[key] = rejected.get(key, 0) + 1
    series = [Series(group[0].person, group[0].series_uid, tuple(group)) for group in groups.values()]
    return Ingest(
        series=tuple(sorted(series + volumes, key=lambda item: (item.person, item.series_uid, str(item.folder)))),
        passed_over=tuple(PassedOver(folder, why, n, uid) for (folder, why, uid), n in rejected.items()),
        files=count,
    )


def read_header(path: Path) -> SliceHeader | tuple[Reason, str]:
    """The header of one file, or why the file is no slice of a CT volume (with its series UID where it has one)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # No preamble: the standard's file meta group or group 8 comes first, little endian.
            force = _starts_like_headless_dicom(path)
            data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=force)
            return _interpret(path, data)
    except InvalidDicomError:
        return rejection.NOT_DICOM, ""
    except Exception:  # damaged files make pydicom raise almost anything
        return rejection.UNREADABLE, ""


def _interpret(path: Path, data: pydicom.Dataset) -> SliceHeader | tuple[Reason, str]:
    uid = str(data.get("SeriesInstanceUID", "") or "")
    reason = _refusal(data)
    if reason is not None:
        return reason, uid
    padding = data.get("PixelPaddingValue")
    return SliceHeader(
        path=path,
        person=person_key(data),
        series_uid=uid,
        instance_uid=str(data.get("SOPInstanceUID", "") or ""),
        acquisition=str(data.get("AcquisitionNumber", "") or ""),
        position=_numbers(data.ImagePositionPatient, 3),
        orientation=_numbers(data.ImageOrientationPatient, 6),
        spacing_mm=_numbers(data.PixelSpacing, 2),
        shape=(int(data.Rows), int(data.Columns)),
        slope=float(data.get("RescaleSlope", 1) or 1),
        intercept=float(data.get("RescaleIntercept", 0) or 0),
        padding=int(padding) if isinstance(padding, int) else None,
        sharpness=sharpness(_joined(data.get("ConvolutionKernel"))),
    )


def _refusal(data: pydicom.Dataset) -> Reason | None:
    sop_class = str(data.get("SOPClassUID", "") or "")
    modality = str(data.get("Modality", "") or "")
    if not sop_class and not modality:
        return rejection.NOT_DICOM
    if sop_class in ENHANCED_CT:
        return rejection.MULTI_FRAME
    if sop_class.startswith(SECONDARY_CAPTURE_ROOT):
        return rejection.SECONDARY
    if sop_class != CT_IMAGE and not (modality == "CT" and not sop_class):
        # Only a known code is repeated to the user; free text in this tag could be anything.
        return rejection.other_modality(modality if modality in MODALITIES else "unknown")
    if "LOCALIZER" in [str(word).upper() for word in (data.get("ImageType") or [])]:
        return rejection.LOCALIZER
    if not data.get("Rows") or not data.get("Columns"):
        return rejection.NO_PIXELS
    if int(data.get("NumberOfFrames", 1) or 1) > 1:
        return rejection.MULTI_FRAME
    if int(data.get("SamplesPerPixel", 1) or 1) != 1:
        return rejection.COLOUR
    meta = getattr(data, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if syntax in LOSSY_JPEG or int(data.get("BitsAllocated", 16) or 16) <= 8:
        return rejection.LOSSY
    if any(not data.get(tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return rejection.NO_GEOMETRY
    return None


def person_key(data: pydicom.Dataset) -> str:
    """What tells persons apart: id (else name) and birth date, and without a birth date the study. In memory only.

    Anonymised exports often give everybody one placeholder id and no birth date. Taking such scans for one person's
    would lose all but two ears; taking two studies of one person for two persons' is the smaller harm.
    """
    identifier = str(data.get("PatientID", "") or "").strip()
    name = str(data.get("PatientName", "") or "").strip()
    born = str(data.get("PatientBirthDate", "") or "").strip()
    study = "" if born and (identifier or name) else str(data.get("StudyInstanceUID", "") or "")
    return f"{'id' if identifier else 'name'}:{identifier or name}|born:{born}|study:{study}"


def _group_key(header: SliceHeader) -> tuple[Any, ...]:
    orientation = tuple(np.round(header.orientation, 3) + 0.0)
    spacing = tuple(np.round(header.spacing_mm, 4))
    # Without a series UID, files that lie together belong together.
    series = header.series_uid or str(header.path.parent)
    return header.person, series, orientation, spacing, header.shape, header.sharpness


def _joined(value: Any) -> str:
    """One or several values of a tag as DICOM writes them, parted by a backslash."""
    return value if isinstance(value, str) else "\\".join(str(item) for item in value or ())


def _numbers(values: Iterable[Any], length: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != length or not np.isfinite(numbers).all():
        raise ValueError("malformed geometry")
    return numbers


def _starts_like_headless_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(132)
    return start[128:132] != b"DICM" and start[:2] in (b"\x02\x00", b"\x08\x00") and len(start) == 132


def _files(raw: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(raw, followlinks=True):
        # Exports may be gathered by symbolic links; each real folder is read once, so that links in a ring end.
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path
