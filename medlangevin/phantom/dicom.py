"""A scan as a DICOM study, one file a slice, in a few of the ways scanners and archives write them.

Every name, number and date in the headers is invented, and says so.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medlangevin.phantom.scan import Geometry

SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "RLE": RLELossless}


@dataclass(frozen=True)
class HeaderVariant:
    """How a study is written.

    Attributes:
        syntax: Transfer syntax: explicit, implicit or RLE.
        file_names: Numbered, or random without an extension.
        slice_order: Order of InstanceNumber: along, reversed or shuffled.
        rescale_intercept: The stored value is HU - intercept.
        side_in_header: Whether Laterality and SeriesDescription tell the side.
    """

    syntax: str = "explicit"
    file_names: str = "numbered"
    slice_order: str = "along"
    rescale_intercept: int = -1024
    side_in_header: bool = False


# An invented patient: what the headers say of them, by keyword.
Patient = dict[str, str]
_HOSPITAL = "TEST HOSPITAL (INVENTED)"
_REFERRER = "REFERRER^TEST^DR"


def identifying_strings(patient: Patient) -> list[str]:
    """List what a de-identified copy must not contain.

    Args:
        patient: What the headers say of the patient.

    Returns:
        The strings, sorted.
    """
    told = (value for tag, value in patient.items() if tag not in ("PatientSex", "StudyDate"))
    return sorted([*told, _REFERRER, _HOSPITAL])


def make_uid(*parts: object) -> str:
    """A DICOM UID under 2.25 that depends on ``parts`` alone.

    Args:
        *parts: What the UID stands for.

    Returns:
        The UID.
    """
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def invent_patient(index: int, rng: np.random.Generator) -> Patient:
    """Draw a test patient; the names are those of specimens in forms.

    Args:
        index: Number in the name.
        rng: Source of the other values.

    Returns:
        The patient.
    """
    family, given = rng.choice(["MUSTERMANN", "SAMPLE", "TESTER", "DOE"]), rng.choice(["ERIKA", "ALEX", "JO", "KIM"])
    return {
        "PatientName": f"{family}^{given}^{index:04d}",
        "PatientID": f"TEST{rng.integers(10**6):06d}",
        "PatientBirthDate": f"19{rng.integers(30, 99)}{rng.integers(1, 13):02d}{rng.integers(1, 28):02d}",
        "PatientSex": str(rng.choice(["F", "M", "O"])),
        "PatientAddress": f"{rng.integers(1, 99)} INVENTED ROAD, TESTVILLE",
        "AccessionNumber": f"ACC{rng.integers(10**7):07d}",
        "StudyDate": f"20{rng.integers(10, 24)}{rng.integers(1, 13):02d}{rng.integers(1, 28):02d}",
    }


def choose_variant(rng: np.random.Generator) -> HeaderVariant:
    """Draw a way of writing a study.

    Args:
        rng: Source of the draws.

    Returns:
        The way.
    """
    return HeaderVariant(
        syntax=str(rng.choice(list(SYNTAXES), p=[0.6, 0.25, 0.15])),
        file_names=str(rng.choice(["numbered", "random"], p=[0.7, 0.3])),
        slice_order=str(rng.choice(["along", "reversed", "shuffled"], p=[0.6, 0.25, 0.15])),
        rescale_intercept=int(rng.choice([-1024, 0, -8192], p=[0.7, 0.2, 0.1])),
        side_in_header=bool(rng.random() < 0.5),
    )


def _decimals(values: NDArray[np.floating]) -> list[str]:
    # A decimal string has at most 16 characters.
    return [f"{value:.9f}"[:16] for value in values]


def _header(
    patient: Patient, geometry: Geometry, variant: HeaderVariant, side: str, series_uid: str, study_uid: str
) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    for tag, value in patient.items():
        setattr(header, tag, value)
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = patient["StudyDate"]
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = "120000"
    header.Modality = "CT"
    header.Manufacturer = "medlangevin digital phantom"
    header.InstitutionName = _HOSPITAL
    header.ReferringPhysicianName = _REFERRER
    header.StudyDescription = "TEST DATA digital cochlea phantom"
    told = {"R": " RIGHT", "L": " LEFT"}[side] if variant.side_in_header else ""
    header.SeriesDescription = f"TEMPORAL BONE{told}"
    header.BodyPartExamined = "HEAD"
    header.KVP = "120"
    header.ConvolutionKernel = "U75u"
    header.PatientPosition = "HFS"
    header.StudyInstanceUID, header.SeriesInstanceUID = study_uid, series_uid
    header.FrameOfReferenceUID = make_uid(study_uid, "frame")
    header.StudyID, header.SeriesNumber = "1", 2
    if variant.side_in_header:
        header.Laterality = side
    header.SliceThickness = f"{geometry.spacing[2]:g}"
    header.PixelSpacing = [f"{geometry.spacing[1]:g}", f"{geometry.spacing[0]:g}"]
    header.ImageOrientationPatient = _decimals(geometry.direction[:, :2].T.ravel())
    header.RescaleIntercept, header.RescaleSlope = str(variant.rescale_intercept), "1"
    header.RescaleType = "HU"
    header.WindowCenter, header.WindowWidth = "700", "4000"
    return header


def write_study(
    folder: Path,
    hu: NDArray[np.int16],
    geometry: Geometry,
    *,
    patient: Patient,
    side: str,
    study_uid: str,
    series_uid: str,
    variant: HeaderVariant,
    rng: np.random.Generator,
) -> None:
    """Write a scan into an existing folder, one file a slice.

    Args:
        folder: The folder.
        hu: HU (slices, rows, columns), int16.
        geometry: Where the voxels lie.
        patient: What the headers say of the patient.
        side: L or R.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        variant: How the study is written.
        rng: Order of the slices where they are shuffled.
    """
    numbers = np.arange(1, len(hu) + 1)[:: -1 if variant.slice_order == "reversed" else 1]
    if variant.slice_order == "shuffled":
        numbers = rng.permutation(numbers)
    stored = hu.astype(np.int32) - variant.rescale_intercept
    pixels = stored.astype("<i2" if variant.rescale_intercept == 0 else "<u2")
    for index, plane in enumerate(pixels):
        header = _header(patient, geometry, variant, side, series_uid, study_uid)
        header.SOPInstanceUID = make_uid(series_uid, index)
        header.InstanceNumber = int(numbers[index])
        position = geometry.origin + geometry.direction[:, 2] * geometry.spacing[2] * index
        header.ImagePositionPatient = _decimals(position)
        header.SliceLocation = f"{float(position @ geometry.direction[:, 2]):.4f}"
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = SYNTAXES["explicit" if variant.syntax == "RLE" else variant.syntax]
        header.set_pixel_data(plane, "MONOCHROME2", 16, generate_instance_uid=False)
        name = f"IM{numbers[index]:04d}.dcm"
        if variant.file_names == "random":
            name = hashlib.sha256(header.SOPInstanceUID.encode()).hexdigest()[:12].upper()
        if variant.syntax == "RLE":
            header.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        header.save_as(folder / name, enforce_file_format=True)
