"""Pixels to HU: by SimpleITK (GDCM), by pydicom where GDCM cannot; the geometry comes from the checked headers."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.imaging.geometry import Geometry, Stack, grid_problem
from medlangevin.imaging.ingest import SliceHeader
from medlangevin.imaging.rejection import Reason, UnusableSeriesError

AIR_HU = -1024


def read_stack(stack: Stack) -> sitk.Image:
    """A stack of DICOM slices as int16 HU in LPS; a gantry tilt stays in the direction matrix as shear.

    Raises UnusableSeriesError when a file cannot be decoded or does not hold HU.
    """
    image = sitk.GetImageFromArray(np.stack([read_slice(item) for item in stack.slices]))
    image.SetOrigin(stack.geometry.origin.tolist())
    image.SetSpacing(stack.geometry.spacing_mm.tolist())
    image.SetDirection(stack.geometry.direction.ravel().tolist())
    _check_hu(image)
    return image


def read_slice(item: SliceHeader) -> NDArray[np.int16]:
    """One slice as (rows, columns) int16 HU: rescaled by its own slope and intercept, padding set to air."""
    stored = _stored_values(item)
    hu = stored.astype(np.float64) * item.slope + item.intercept
    if item.padding is not None:
        hu[stored == item.padding] = AIR_HU
    return np.clip(np.rint(hu), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def _stored_values(item: SliceHeader) -> NDArray[np.float64]:
    try:
        stored = _by_gdcm(item)
    except (RuntimeError, ValueError):
        stored = _by_pydicom(item)
    if stored.shape != item.shape:
        raise UnusableSeriesError(Reason("decode", "the pixels do not fit the header's matrix", "export it again"))
    return stored


def _by_gdcm(item: SliceHeader) -> NDArray[np.float64]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(item.path))
    reader.SetOutputPixelType(sitk.sitkFloat64)
    values = sitk.GetArrayFromImage(reader.Execute())[0]
    # GDCM applies slope and intercept itself; undo it, so that one place decides what HU are.
    return np.rint((values - item.intercept) / item.slope)


def _by_pydicom(item: SliceHeader) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(item.path, force=True).pixel_array.astype(np.float64)
    except Exception as error:  # damaged pixel data makes decoders raise almost anything
        text = "the pixels of a slice cannot be decoded (truncated, damaged or of an unknown compression)"
        raise UnusableSeriesError(Reason("decode", text, "export the series again, uncompressed")) from error


def read_volume_file(path: Path) -> sitk.Image:
    """A NIfTI or NRRD file in HU, as int16 in LPS. Raises UnusableSeriesError."""
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        reason = Reason("decode", "the volume file cannot be read", "write it again as NIfTI or NRRD in HU")
        raise UnusableSeriesError(reason) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnusableSeriesError(Reason("not-a-volume", "no three-dimensional grey volume", "give one CT volume"))
    geometry = Geometry(
        origin=np.array(image.GetOrigin()),
        direction=np.array(image.GetDirection()).reshape(3, 3),
        spacing_mm=np.array(image.GetSpacing()),
        size=image.GetSize(),
        tilt_deg=0.0,
    )
    problem = grid_problem(geometry)
    if problem is not None:
        raise UnusableSeriesError(problem)
    image = sitk.Cast(sitk.Clamp(image, sitk.sitkFloat32, AIR_HU, 32767), sitk.sitkInt16)
    _check_hu(image)
    return image


def _check_hu(image: sitk.Image) -> None:
    """Temporal bone always holds bone; values that never reach it are no HU (or no head)."""
    high = float(np.percentile(sitk.GetArrayViewFromImage(image), 99.9))
    if high < 600:
        text = f"no bone in it (99.9 % of the values lie below {high:.0f}): not HU, or not a temporal bone"
        raise UnusableSeriesError(Reason("no-bone", text, "give the CT series of the temporal bone"))
