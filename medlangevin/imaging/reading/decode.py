"""A checked stack of slices, or a volume file, to one image in HU; the geometry comes from the checked headers."""

from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from medlangevin.imaging.reading.consistency import continuity_problem, odd_slices
from medlangevin.imaging.reading.geometry import Geometry, Stack, grid_problems
from medlangevin.imaging.reading.rejection import LABEL_MAP, NO_BONE, UnusableSeriesError
from medlangevin.imaging.reading.slice_pixels import AIR_HU, read_slices, whole_hu
from medlangevin.imaging.reading.volume_file import load_volume
from medlangevin.system.nifti import is_label_map

# Slicer's segmentations, which may hold several layers.
SEGMENTATION_ENDING = ".seg.nrrd"


def read_stack(stack: Stack) -> sitk.Image:
    """Read a stack of DICOM slices.

    A first or last slice that does not fit is left out: cone-beam scanners write empty ones.

    Args:
        stack: Slices in order, from ``geometry.stacks``.

    Returns:
        int16 HU in LPS; a gantry tilt stays in the direction matrix as shear.

    Raises:
        UnusableSeriesError: A file cannot be decoded, does not fit its neighbours or does not hold HU.
    """
    columns, rows, count = stack.geometry.size
    slices = read_slices(stack.slices)
    # The first slice proves the matrix that headers claim, before memory is set aside for all.
    first = next(slices)
    volume = np.empty((count, rows, columns), np.int16)
    for index, values in enumerate(chain([first], slices)):
        volume[index] = values
    volume, geometry = _without_odd_ends(volume, stack.geometry)
    for problem in filter(None, (continuity_problem(volume), *grid_problems(geometry))):
        raise UnusableSeriesError(problem)
    return _image(volume, geometry)


def read_volume_file(path: Path) -> sitk.Image:
    """Read a NIfTI or NRRD file in HU.

    Args:
        path: The file.

    Returns:
        int16 HU in LPS; shear stays in the direction matrix. What is not a number or is infinite becomes air.

    Raises:
        UnusableSeriesError: The file cannot be read, is a label map, or its grid or values are not those of a temporal
            bone.
    """
    if path.name.lower().endswith(SEGMENTATION_ENDING):
        raise UnusableSeriesError(LABEL_MAP)
    values, geometry = load_volume(path)
    if is_label_map(values):
        raise UnusableSeriesError(LABEL_MAP)
    for problem in grid_problems(geometry):
        raise UnusableSeriesError(problem)
    return _image(whole_hu(np.nan_to_num(values, nan=AIR_HU, posinf=AIR_HU, neginf=AIR_HU)), geometry)


def _without_odd_ends(volume: NDArray[np.int16], geometry: Geometry) -> tuple[NDArray[np.int16], Geometry]:
    odd = odd_slices(volume)
    start, stop = int(0 in odd), len(volume) - int(len(volume) - 1 in odd)
    step = geometry.direction[:, 2] * geometry.spacing_mm[2]
    trimmed = geometry._replace(origin=geometry.origin + start * step, size=(*geometry.size[:2], stop - start))
    return volume[start:stop], trimmed


def _image(volume: NDArray[np.int16], geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(volume)
    image.SetOrigin(geometry.origin.tolist())
    image.SetSpacing(geometry.spacing_mm.tolist())
    image.SetDirection(geometry.direction.ravel().tolist())
    # Temporal bone always holds bone; values that never reach it are not HU (or not of a head).
    high = float(np.percentile(volume, 99.9))
    if high < 600:
        text = f"no bone in it (99.9 % of the values lie below {high:.0f}): not HU, or not a temporal bone"
        raise UnusableSeriesError(NO_BONE.with_text(text))
    return image
