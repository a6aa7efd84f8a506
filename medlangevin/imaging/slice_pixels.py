"""Stored values of a slice to HU: decoded by SimpleITK (GDCM), by pydicom where GDCM cannot."""

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels
from pydicom.uid import CTImageStorage

from medlangevin.imaging.rejection import Reason, UnusableSeriesError
from medlangevin.imaging.slice_header import SliceHeader

AIR_HU = -1024
DECODE = Reason(
    "decode",
    "the pixels of a slice cannot be decoded (truncated, damaged or of an unknown compression)",
    "export the series again, uncompressed",
)
MATRIX = Reason("decode", "the pixels do not fit the header's matrix", "export it again")
# What a decoder must know of one frame.
PIXEL_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
]


def read_slice(item: SliceHeader) -> NDArray[np.int16]:
    """One slice as (rows, columns) int16 HU: rescaled by its own slope and intercept, padding set to air.

    Raises UnusableSeriesError.
    """
    return next(read_slices([item]))


def read_slices(items: Sequence[SliceHeader]) -> Iterator[NDArray[np.int16]]:
    """Slices in the given order as in ``read_slice``. Neighbours in one enhanced file cost one reading of the file."""
    for path, members in groupby(items, key=lambda item: item.path):
        part = list(members)
        single = part[0].frame is None
        stored = (_of_file(item) for item in part) if single else _of_frames(path, [item.frame or 0 for item in part])
        for item, values in zip(part, stored, strict=True):
            if values.shape != item.shape:
                raise UnusableSeriesError(MATRIX)
            yield _hu(values, item)


def _hu(stored: NDArray[np.float64], item: SliceHeader) -> NDArray[np.int16]:
    hu = stored * item.slope + item.intercept
    if item.padding is not None:
        hu[(stored >= item.padding[0]) & (stored <= item.padding[1])] = AIR_HU
    return np.clip(np.rint(hu), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def _of_file(item: SliceHeader) -> NDArray[np.float64]:
    try:
        return _by_gdcm(item.path, item.slope, item.intercept)
    except (RuntimeError, ValueError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(item.path, force=True).pixel_array.astype(np.float64)
    except Exception as error:  # damaged pixel data makes decoders raise almost anything
        raise UnusableSeriesError(DECODE) from error


def _by_gdcm(path: Path, slope: float, intercept: float) -> NDArray[np.float64]:
    """Raises RuntimeError for pixels, and ValueError for file names, that GDCM cannot read."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(os.fspath(path))
    reader.SetOutputPixelType(sitk.sitkFloat64)
    values = sitk.GetArrayFromImage(reader.Execute())[0]
    # GDCM applies slope and intercept itself; undo it, so that one place decides what HU are.
    return np.rint((values - intercept) / slope)


def _of_frames(path: Path, frames: list[int]) -> Iterator[NDArray[np.float64]]:
    """Frames of an enhanced file, in the given order. Only the compressed frames of one file are in memory at once."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, specific_tags=[*PIXEL_TAGS, "NumberOfFrames", "PixelData"])
            syntax = data.file_meta.TransferSyntaxUID
            if not syntax.is_encapsulated:
                for values in iter_pixels(data, indices=frames, raw=True):
                    yield values.astype(np.float64)
                return
            compressed = list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))
            for frame in frames:
                yield _compressed_frame(data, compressed[frame])
    except UnusableSeriesError:
        raise
    except Exception as error:  # as in _of_file
        raise UnusableSeriesError(DECODE) from error


def _compressed_frame(source: pydicom.Dataset, code: bytes) -> NDArray[np.float64]:
    """One frame, decoded as a file of its own: what GDCM makes of an enhanced file's many rescales does not matter."""
    data = pydicom.Dataset()
    for tag in PIXEL_TAGS:
        setattr(data, tag, source.get(tag))
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, pydicom.uid.generate_uid()
    data.PixelData = encapsulate([code])
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        data.save_as(path, enforce_file_format=True)
        try:
            return _by_gdcm(path, 1.0, 0.0)
        except RuntimeError:
            return pydicom.dcmread(path).pixel_array.astype(np.float64)
