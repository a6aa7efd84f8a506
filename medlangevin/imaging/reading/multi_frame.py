"""Enhanced (multi-frame) CT: every frame's functional groups to the header that a file of its own would have."""

from collections.abc import Iterator
from pathlib import Path

import pydicom

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.reconstruction_kernel import sharpness
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

# Enhanced CT and Legacy Converted Enhanced CT.
ENHANCED_CT = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}
GROUPS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]


def frame_headers(path: Path, data: pydicom.Dataset) -> tuple[list[SliceHeader], Reason | None]:
    """One header for every frame that is a slice, and why other frames are none (or the whole file is not).

    A frame's own group counts before the shared one (DICOM PS3.3 C.7.6.16). Frames come in any order: StackID and
    InStackPositionNumber are not looked at, positions sort the frames and orientations part the stacks.
    """
    frames = data.get("PerFrameFunctionalGroupsSequence") or []
    if not frames or len(frames) != int(data.get("NumberOfFrames", 0) or 0):
        return [], rejection.FRAME_COUNT
    shared = (data.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    person, uid = person_key(data), text(data, "SeriesInstanceUID")
    study, limits = text(data, "StudyInstanceUID"), padding(data)
    found: list[SliceHeader] = []
    beside: Reason | None = None
    for index, own in enumerate(frames):
        groups = [own, shared]
        frame_type = _first(groups, "CTImageFrameTypeSequence").get("FrameType") or data.get("ImageType") or []
        problem = image_type_problem([frame_type] if isinstance(frame_type, str) else frame_type)
        if problem is not None:
            beside = problem
            continue
        place = placement(
            _first(groups, "PlanePositionSequence").get("ImagePositionPatient"),
            _first(groups, "PlaneOrientationSequence").get("ImageOrientationPatient"),
            _first(groups, "PixelMeasuresSequence").get("PixelSpacing"),
        )
        if isinstance(place, Reason):
            return [], place
        scale = rescale(_first(groups, "PixelValueTransformationSequence"))
        if isinstance(scale, Reason):
            return [], scale
        found.append(
            SliceHeader(
                path=path,
                person=person,
                series_uid=uid,
                instance_uid=text(data, "SOPInstanceUID"),
                acquisition=text(_first(groups, "FrameContentSequence"), "FrameAcquisitionNumber"),
                **place._asdict(),
                shape=(int(data.Rows), int(data.Columns)),
                slope=scale[0],
                intercept=scale[1],
                padding=limits,
                sharpness=sharpness("\\".join(_reconstruction_kernels(groups))),
                frame=index,
                study_uid=study,
                thickness_mm=thickness_mm(_first(groups, "PixelMeasuresSequence").get("SliceThickness")),
            )
        )
    if found and beside is not None:
        beside = rejection.other_frames(beside)
    return found, beside


def _reconstruction_kernels(groups: list[pydicom.Dataset]) -> Iterator[str]:
    sequences = (
        "CTReconstructionSequence",
        # Where a converted classic series keeps what has no place of its own.
        "UnassignedPerFrameConvertedAttributesSequence",
        "UnassignedSharedConvertedAttributesSequence",
    )
    for tag in ("ConvolutionKernel", "ConvolutionKernelGroup"):
        for name in sequences:
            value = _first(groups, name).get(tag)
            if value:
                yield joined(value)


def _first(groups: list[pydicom.Dataset], name: str) -> pydicom.Dataset:
    """The one item of a functional group, a frame's own before the shared one; empty where there is none."""
    for group in groups:
        sequence = group.get(name)
        if sequence:
            return sequence[0]
    return pydicom.Dataset()
