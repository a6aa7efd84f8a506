"""NIfTI and NRRD files to values and a grid in LPS. Where the file leaves left and right open, it is refused."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

from medlangevin.imaging.reading import rejection
from medlangevin.imaging.reading.geometry import Geometry, affine_geometry, corner_indices
from medlangevin.imaging.reading.rejection import (
    FITTED_TO_TEMPLATE,
    OTHER_VOXEL_SIZE,
    Doubt,
    UnusableSeriesError,
    refused_as,
)
from medlangevin.system.nifti import can_hold, open_nifti, usable_affine

# Two matrices in one NIfTI header that put a voxel this far apart do not mean the same volume.
DISAGREEMENT_MM = 0.1
# But ITK (Slicer, ANTs) leaves rotations below this out of the qform, and keeps them in the sform.
ITK_LEAVES_OUT_RAD = 1e-3
PIXEL_SIZE_TOLERANCE = 0.01
NIFTI_UNITS = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
NRRD_UNITS = {
    **dict.fromkeys(("m", "meter", "metre"), 1000.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("", "mm", "millimeter", "millimetre", "millimeters"), 1.0),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometre", "micrometers"), 0.001),
}
# Talairach, MNI and other templates.
TEMPLATE_CODES = {3, 4, 5}
NIFTI_SPACE = (-1, -1, 1)
# World axes of a NRRD file to LPS.
SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
}


def load_volume(path: Path) -> tuple[NDArray[np.float32], Geometry]:
    """Read a NIfTI or NRRD file.

    Args:
        path: The file.

    Returns:
        Values (k, j, i) as they mean, not as stored, and the grid in LPS mm.

    Raises:
        UnusableSeriesError: The file cannot be read, is not one grey volume, or leaves open which way is left.
    """
    with refused_as(rejection.UNREADABLE_VOLUME):
        values, affine = _nrrd(path) if path.name.lower().endswith(".nrrd") else _nifti(path)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UnusableSeriesError(rejection.BAD_AFFINE)
    columns, rows, count = values.shape[::-1]
    return values, affine_geometry(affine, (columns, rows, count))


def header_doubts(path: Path) -> tuple[Doubt, ...]:
    """Read from a header what a person has to look at.

    Args:
        path: A file that ``load_volume`` reads.

    Returns:
        For NIfTI: a template as its space, and another voxel size in an sform that does not count. None for NRRD.
    """
    if path.name.lower().endswith(".nrrd"):
        return ()
    image = open_nifti(path)
    sform, codes = image.header.get_sform(), [int(image.header[name]) for name in ("sform_code", "qform_code")]
    doubts = [FITTED_TO_TEMPLATE] if TEMPLATE_CODES & set(codes) else []
    # Zeros and the unit matrix are what some writers leave there.
    written = usable_affine(sform) and not np.array_equal(sform, np.eye(4))
    if not codes[0] and written and not _has_voxels_of(sform, image.header.get_zooms()[:3]):
        doubts.append(OTHER_VOXEL_SIZE)
    return tuple(doubts)


def volume_shape(path: Path) -> tuple[int, ...]:
    """Read the matrix of a NIfTI or NRRD file from its header alone.

    Args:
        path: The file.

    Returns:
        Voxels along (i, j, k), and along further axes that are longer than one.

    Raises:
        UnusableSeriesError: The header cannot be read.
    """
    with refused_as(rejection.UNREADABLE_VOLUME):
        nrrd = path.name.lower().endswith(".nrrd")
        size = [int(word) for word in _nrrd_fields(path)["sizes"].split()] if nrrd else open_nifti(path).shape
    return (*size[:3], *(length for length in size[3:] if length != 1))


def _nifti(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    image = open_nifti(path)
    shape = image.shape
    stored = image.get_data_dtype()
    _require_volume(path, shape, grey=stored.kind in "iuf", bytes_a_voxel=stored.itemsize)
    # get_fdata applies scl_slope and scl_inter; SimpleITK would do the same but refuses any shear.
    values = np.asarray(image.get_fdata(dtype=np.float32)).reshape(shape[:3])
    scale = NIFTI_UNITS.get(image.header.get_xyzt_units()[0], 1.0)
    return values.T, _in_lps(_nifti_affine(image), NIFTI_SPACE, scale)


def _require_volume(path: Path, shape: tuple[int, ...], *, grey: bool, bytes_a_voxel: int) -> None:
    # A fourth axis of length one is a volume all the same.
    if not grey or len(shape) < 3 or any(length != 1 for length in shape[3:]):
        raise UnusableSeriesError(rejection.NOT_A_VOLUME)
    if not can_hold(path, shape, bytes_a_voxel):
        raise UnusableSeriesError(rejection.UNREADABLE_VOLUME)


def _nifti_affine(image: nibabel.Nifti1Image) -> NDArray[np.float64]:
    sform, s_code = image.get_sform(coded=True)
    qform, q_code = image.get_qform(coded=True)
    if not s_code and not q_code:
        raise UnusableSeriesError(rejection.NO_ORIENTATION)
    if s_code and q_code:
        corners = corner_indices(image.shape[:3])
        by_sform, by_qform = (apply_affine(affine, corners) for affine in (sform, qform))
        apart = float(np.linalg.norm(by_sform - by_qform, axis=1).max())
        # A tilted gantry's shear cannot be said by a qform: there the sform alone tells it. It leaves the pixels' size
        # as it is, which a fit to a template does not.
        pixel = voxel_sizes(sform)[:2] / image.header.get_zooms()[:2]
        axes = sform[:3, :3] / voxel_sizes(sform)
        tilted = np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3 and np.abs(pixel - 1).max() < PIXEL_SIZE_TOLERANCE
        extent = float(np.linalg.norm(np.ptp(by_sform, axis=0)))
        if apart > DISAGREEMENT_MM + ITK_LEAVES_OUT_RAD * extent and not tilted:
            text = f"its two orientations (sform and qform) disagree by up to {apart:.1f} mm"
            raise UnusableSeriesError(rejection.TWO_ORIENTATIONS.with_text(text))
    zooms = image.header.get_zooms()[:3]
    if s_code and usable_affine(sform) and not _has_voxels_of(sform, zooms):
        text = f"it says two voxel sizes: {_shown(voxel_sizes(sform))} (sform) and {_shown(zooms)} (pixdim)"
        raise UnusableSeriesError(rejection.VOXEL_SIZE.with_text(text))
    return np.asarray(sform if s_code else qform, dtype=np.float64)


def _has_voxels_of(affine: NDArray[np.float64], sizes: Sequence[float]) -> bool:
    """Whether the voxels of a matrix have these sizes; along k, of slices sheared by a tilt, their distance may."""
    found = voxel_sizes(affine)
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    distance = abs(normal @ affine[:3, 2]) / np.linalg.norm(normal)
    ratios = np.array([found / sizes, [*(found / sizes)[:2], distance / sizes[2]]])
    return bool((np.abs(ratios - 1).max(axis=1) < PIXEL_SIZE_TOLERANCE).any())


def _shown(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)


def _nrrd(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    fields = _nrrd_fields(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    # Asked before reading: read as one number a pixel, SimpleITK takes colours or segments for shades of grey.
    _require_volume(path, reader.GetSize(), grey=reader.GetNumberOfComponents() == 1, bytes_a_voxel=1)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    values = sitk.GetArrayFromImage(reader.Execute())
    space = fields.get("space", "").lower()
    vectors = [_vector(word) for word in re.findall(r"\([^)]*\)", fields.get("space directions", ""))]
    if space not in SPACES or len(vectors) != 3:
        raise UnusableSeriesError(rejection.NO_ORIENTATION)
    units = {unit.strip().lower() for unit in re.findall(r'"([^"]*)"', fields.get("space units", '""'))}
    if len(units) != 1 or not units <= NRRD_UNITS.keys():
        raise UnusableSeriesError(rejection.VOXEL_SIZE.with_text("its unit of length is not known"))
    scale = NRRD_UNITS[units.pop()]
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(vectors)
    affine[:3, 3] = _vector(fields.get("space origin", "0,0,0"))
    # SimpleITK would drop what is not a rotation; the header's own vectors keep it.
    return values.reshape(values.shape[-3:]), _in_lps(affine, SPACES[space], scale)


def _in_lps(affine: NDArray[np.float64], flips: tuple[int, int, int], scale: float) -> NDArray[np.float64]:
    return affine * np.array([*(flip * scale for flip in flips), 1.0])[:, None]


def _nrrd_fields(path: Path) -> dict[str, str]:
    with path.open("rb") as stream:
        lines = (line.decode("latin-1").strip() for line in iter(lambda: stream.readline(4096), b""))
        parts = [line.partition(": ") for line in takewhile(bool, lines) if not line.startswith("#")]
    return {name.strip().lower(): value.strip() for name, colon, value in parts if colon}


def _vector(word: str) -> list[float]:
    return [float(part) for part in word.strip("()").split(",")]
