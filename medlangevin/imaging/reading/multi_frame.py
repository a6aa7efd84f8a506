"""Enhanced (multi-frame) CT: every frame's functional groups to the header that a file of its own would have."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pydicom
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from medlangevin.imaging.reading import slice_header
from medlangevin.imaging.reading.header_values import joined_values, raw_value
from medlangevin.imaging.reading.rejection import FRAME_COUNT, Reason
from medlangevin.imaging.reading.slice_header import SliceHeader

ENHANCED_CT = {EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
GROUPS = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
# Where a frame's tags stand that a classic file has in its header.
KEPT = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
# The tags of a classic file, and what FrameContentSequence calls them.
CONTENT = {
    "AcquisitionNumber": "FrameAcquisitionNumber",
    "AcquisitionDateTime": "FrameAcquisitionDateTime",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
}


def frame_headers(path: Path, data: pydicom.Dataset) -> tuple[list[SliceHeader], Reason | None]:
    """Read the header of every frame that is a slice.

    A frame's own group counts before the shared one (DICOM PS3.3 C.7.6.16). Frames come in any order: StackID and
    InStackPositionNumber are not looked at, positions sort the frames and orientations part the stacks.

    Args:
        path: The file.
        data: Its header, with the functional groups.

    Returns:
        The headers, and why other frames are not slices (or the whole file cannot be used); None without such frames.

    Raises:
        UnusableSeriesError: It is not known where a slice lies or what its values mean.
    """
    frames = data.get("PerFrameFunctionalGroupsSequence") or []
    if not frames or len(frames) != int(data.get("NumberOfFrames", 0) or 0):
        return [], FRAME_COUNT
    shared = (data.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    common = slice_header.fields_of_file(path, data)
    found: list[SliceHeader] = []
    beside: Reason | None = None
    for index, own in enumerate(frames):
        groups = [own, shared]
        frame_type = _first(groups, "CTImageFrameTypeSequence").get("FrameType") or data.get("ImageType")
        if problem := slice_header.image_type_problem(frame_type):
            beside = problem
            continue
        tags = {tag: raw_value(_first(groups, name), tag) for name, kept in KEPT.items() for tag in kept}
        content = _first(groups, "FrameContentSequence")
        tags |= {tag: raw_value(content, name) for tag, name in CONTENT.items()}
        tags["ConvolutionKernel"] = list(_reconstruction_kernels(groups))
        found.append(slice_header.make_header(common, tags, frame=index))
    if found and beside is not None:
        # The slices are used: that other frames are not is not a failure.
        beside = Reason(beside.code, f"{beside.text} (frames beside the slices of one file)", "nothing", failure=False)
    return found, beside


def _reconstruction_kernels(groups: list[pydicom.Dataset]) -> Iterator[str]:
    sequences = (
        "CTReconstructionSequence",
        # Where a converted classic series keeps what has no place of its own.
        "UnassignedPerFrameConvertedAttributesSequence",
        "UnassignedSharedConvertedAttributesSequence",
    )
    for tag, name in product(("ConvolutionKernel", "ConvolutionKernelGroup"), sequences):
        if value := _first(groups, name).get(tag):
            yield joined_values(value)


def _first(groups: list[pydicom.Dataset], name: str) -> pydicom.Dataset:
    """The one item of a functional group, a frame's own before the shared one; empty where there is none."""
    return next((group[name][0] for group in groups if group.get(name)), pydicom.Dataset())
