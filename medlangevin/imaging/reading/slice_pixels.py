"""Stored values of a slice to HU: plain and run-length pixels by pydicom, other compressed ones by SimpleITK (GDCM).

GDCM never sees a file from outside: a damaged header makes it crash, hang or take gigabytes. It gets one frame at a
time, in a small file with a header made here, after the frame's own size was checked.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels

from medlangevin.imaging.reading.bounded_file import frame_shape, is_lossy, open_dicom
from medlangevin.imaging.reading.rejection import LOSSY, OTHER_MATRIX, UNDECODABLE, UnusableSeriesError, refused_as
from medlangevin.imaging.reading.slice_header import SliceHeader
from medlangevin.imaging.reading.stored_bits import (
    OVERLAY_TAGS,
    StoredBits,
    beside_the_scan,
    stored_bits,
    stored_values,
)

AIR_HU = -1024
FRAME_UID = "2.25.1"
# Far above any detector's matrix; what a damaged header may claim at most.
MAX_PIXELS = 8192**2
# What a decoder must know of one frame.
PIXEL_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
]
# JPEG 2000 that may be cut short, and how many bits a pixel that differs from the one before needs at least: noise of
# 10 HU alone takes 5.
MAY_BE_LOSSY = {uid.JPEG2000, uid.HTJ2K}
MIN_BITS = 2.0


def read_slice(item: SliceHeader) -> NDArray[np.int16]:
    """Read one slice: rescaled by its own slope and intercept, padding set to air.

    Args:
        item: Its header.

    Returns:
        int16 HU, (rows, columns).

    Raises:
        UnusableSeriesError: The pixels cannot be decoded, or do not fit the header.
    """
    return next(read_slices([item]))


def read_slices(items: Sequence[SliceHeader]) -> Iterator[NDArray[np.int16]]:
    """Read slices as in ``read_slice``. Neighbours in one enhanced file cost one reading of the file.

    Args:
        items: Their headers.

    Yields:
        int16 HU, (rows, columns), in the order of the headers.

    Raises:
        UnusableSeriesError: Pixels cannot be decoded, or do not fit their header.
    """
    for path, members in groupby(items, key=lambda item: item.path):
        part = list(members)
        stored = _stored(path, [item.frame or 0 for item in part])
        for item, (raw, bits) in zip(part, stored, strict=True):
            if raw.shape != item.shape:
                raise UnusableSeriesError(OTHER_MATRIX)
            values, padded = stored_values(raw, bits, item.padding)
            hu = values * item.slope + item.intercept
            if item.padding_may_be_tissue:
                padded = beside_the_scan(padded)
            hu[padded] = AIR_HU
            yield whole_hu(hu)


def whole_hu(values: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round HU to whole numbers, none below air.

    Args:
        values: Finite HU of any shape.

    Returns:
        int16, clipped to -1024 ... 32767.
    """
    return np.clip(np.rint(values), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def _stored(path: Path, frames: list[int]) -> Iterator[tuple[NDArray[np.int64], StoredBits]]:
    """Frames of a file, in the given order, with all allocated bits; of one file at a time."""
    with refused_as(UNDECODABLE), open_dicom(path) as stream:
        tags = [*PIXEL_TAGS, "NumberOfFrames", "LossyImageCompression", "PixelData", *OVERLAY_TAGS]
        data = pydicom.dcmread(stream, force=True, specific_tags=tags)
        bits = stored_bits(data)
        syntax = _syntax(data)
        if data.Rows * data.Columns > MAX_PIXELS:
            raise UnusableSeriesError(OTHER_MATRIX)
        if syntax == uid.RLELossless and not _may_hold_run_lengths(data):
            raise UnusableSeriesError(UNDECODABLE)
        if not syntax.is_encapsulated or syntax == uid.RLELossless:
            for values in iter_pixels(data, indices=frames, raw=True, correct_unused_bits=False):
                yield values.astype(np.int64), bits
            return
        count = int(data.get("NumberOfFrames", 1) or 1)
        compressed = list(generate_frames(data.PixelData, number_of_frames=count))
        for frame in frames:
            yield _compressed_frame(data, compressed[frame]), bits


def _may_hold_run_lengths(data: pydicom.Dataset) -> bool:
    """Two bytes of run-length code give 128 at most (DICOM PS3.5 G.3.1): pydicom sets aside what the header claims."""
    frames = int(data.get("NumberOfFrames", 1) or 1)
    return frames * data.Rows * data.Columns * data.BitsAllocated // 8 <= 64 * len(data.PixelData)


def _syntax(data: pydicom.Dataset) -> uid.UID:
    """The transfer syntax; without a file meta group, what the first bytes told pydicom."""
    if "TransferSyntaxUID" not in data.file_meta:
        implicit, little_endian = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return uid.UID(data.file_meta.TransferSyntaxUID)


def _compressed_frame(source: pydicom.Dataset, code: bytes) -> NDArray[np.int64]:
    """One frame, decoded as a file of its own: what GDCM makes of the file's rescale does not matter then."""
    syntax = source.file_meta.TransferSyntaxUID
    if frame_shape(code, syntax) != (source.Rows, source.Columns):
        raise UnusableSeriesError(OTHER_MATRIX)
    if is_lossy(code, syntax):
        raise UnusableSeriesError(LOSSY)
    data = pydicom.Dataset()
    for tag in PIXEL_TAGS:
        setattr(data, tag, source.get(tag))
    # ITK would invert the values of MONOCHROME1, which only says how they are shown.
    data.PhotometricInterpretation = "MONOCHROME2"
    # All bits: which of them count is decided as for other pixels.
    data.BitsStored, data.HighBit = source.BitsAllocated, source.BitsAllocated - 1
    data.SOPClassUID, data.SOPInstanceUID = uid.CTImageStorage, FRAME_UID
    data.PixelData = encapsulate([code])
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        data.save_as(path, enforce_file_format=True)
        try:
            values = sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat64, "GDCMImageIO"))[0]
        except RuntimeError:  # GDCM cannot read the pixels
            values = pydicom.dcmread(path).pixel_array
    if syntax in MAY_BE_LOSSY and source.get("LossyImageCompression") != "00":
        changes = np.count_nonzero(np.diff(values, axis=1))
        if 8 * len(code) < MIN_BITS * changes:
            text = f"lossy compression: {8 * len(code) / changes:.1f} bits a pixel cannot hold the noise of CT"
            raise UnusableSeriesError(LOSSY.with_text(text))
    return np.rint(values).astype(np.int64)
