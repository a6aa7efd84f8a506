"""The one reader and writer of NIfTI: affines are voxel to RAS mm; no header is believed beyond its file's length."""

import gzip
import io
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from medlangevin._version import __version__
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path

if TYPE_CHECKING:  # takes half a second, and only crops are written by it
    import SimpleITK as sitk

# What nibabel raises for a file that is damaged or not an image.
UNREADABLE = (
    *(ImageFileError, HeaderDataError, WrapStructError),
    *(OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error),
)
# gzip packs at most 1032 bytes in one.
MOST_PACKED = 1032
GZIP_MAGIC = b"\x1f\x8b"
# By the size that a header gives of itself at its start.
HEADERS = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}
# More different values than that are grey values, and so are values that change from voxel to voxel.
MOST_LABELS = 256
LABELS_ALIKE = 0.9
# A crop has 150,000 voxels; 512 x 512 x 512 of them are not a crop, whatever the file's length.
MOST_CROP_VOXELS = 2**27


class VolumeError(MedlangevinError):
    """A volume file cannot be used.

    Attributes:
        reason: Why, and what to do, without the name of the file.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.reason = reason


def can_hold(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether a file of this length, packed or not, can hold so many voxels.

    Args:
        path: The volume file.
        shape: The voxels that its header claims, along any number of axes.
        bytes_a_voxel: The size of one stored value.

    Returns:
        False also where ``shape`` is empty or has an axis without voxels.

    Raises:
        OSError: There is no such file.
    """
    return min(shape, default=0) > 0 and math.prod(shape) * bytes_a_voxel <= MOST_PACKED * path.stat().st_size


def can_be_crop(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether a file can hold so many voxels, and they are few enough for a crop.

    Args:
        path: The volume file.
        shape: The voxels that its header claims, along any number of axes.
        bytes_a_voxel: The size of one stored value.

    Returns:
        True for at most 2**27 voxels in a file that ``can_hold`` them.

    Raises:
        OSError: There is no such file.
    """
    return math.prod(shape) <= MOST_CROP_VOXELS and can_hold(path, shape, bytes_a_voxel)


def open_nifti(path: Path | str) -> Any:
    """Open a NIfTI file: its header is read, its voxels are not.

    What the file begins with decides whether it is packed, not its name: uploads are often renamed.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.

    Returns:
        nibabel's image, whose ``dataobj`` is read when it is used.

    Raises:
        FileNotFoundError: There is no such file.
        Exception: One of ``UNREADABLE``, where the file is damaged or not an image.
    """
    path = Path(path)
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    if packed == path.name.lower().endswith(".gz"):
        return nibabel.load(path)
    # Packed, it stays packed until its voxels are used.
    content: Any = gzip.open(path) if packed else io.BytesIO(path.read_bytes())  # noqa: SIM115
    begin = content.read(4)
    content.seek(0)
    for size, image_class in HEADERS.items():
        if size in (int.from_bytes(begin, "little"), int.from_bytes(begin, "big")):
            return image_class.from_file_map({"image": nibabel.FileHolder(fileobj=content)})
    raise ImageFileError("neither packed nor NIfTI")


def is_label_map(values: NDArray[np.number]) -> bool:
    """Whether a volume numbers regions instead of holding grey values.

    Args:
        values: Of any shape.

    Returns:
        True for two to 256 different whole numbers from -1 on, of which nine of ten voxels have that of the next one.
    """
    # Most scans are told by a few of their values.
    for part in (values.ravel()[:: max(1, values.size // 100_000)], values):
        if not part.size or part.min() < -1 or not (part == np.rint(part)).all():
            return False
        kinds = len(np.unique(part))
        if kinds > MOST_LABELS:
            return False
    alike = [float((np.diff(values, axis=axis) == 0).mean()) for axis in range(values.ndim) if values.shape[axis] > 1]
    return kinds > 1 and min(alike, default=0.0) > LABELS_ALIKE


def usable_affine(affine: NDArray[np.float64]) -> bool:
    """Whether a voxel-to-mm matrix says where voxels lie.

    Args:
        affine: (4, 4).

    Returns:
        True where it is finite and invertible.
    """
    return bool(np.isfinite(affine).all()) and abs(float(np.linalg.det(affine[:3, :3]))) >= 1e-9


def read_volume(path: Path | str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a NIfTI volume of the size of a crop.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file.

    Returns:
        Array (i, j, k), and affine (4, 4), voxel to RAS mm.

    Raises:
        VolumeError: One line, when the file is absent, cut short, not NIfTI, not three-dimensional, without a usable
            affine, or holds colours, NaN or infinity.
    """
    path = Path(path)
    try:
        image = open_nifti(path)
        stored = image.get_data_dtype()
        if not can_be_crop(path, image.shape, stored.itemsize):
            raise ValueError("its header claims more voxels than it can hold, or than a crop has")
        if stored.kind not in "biuf":
            raise VolumeError(path, "holds colours or pairs of numbers, not one grey value a voxel; give a grey volume")
        values = np.asarray(image.dataobj, dtype=np.float32)
    except FileNotFoundError as error:
        raise VolumeError(path, "does not exist; give a NIfTI crop") from error
    except UNREADABLE as error:
        # Some of nibabel's messages name the file.
        told = " ".join(str(error).replace(str(path), path.name).split())
        raise VolumeError(path, f"cannot be read as NIfTI ({told or type(error).__name__}); write it again") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise VolumeError(path, f"has {values.ndim} axes, and a volume needs three; give one volume")
    if not np.isfinite(values).all():
        raise VolumeError(path, "holds values that are not numbers (NaN or infinite); write it again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not usable_affine(affine):
        raise VolumeError(path, "has no usable affine (voxel to mm); write it again with one")
    return values, affine


def make_nifti(values: NDArray[np.generic], affine: NDArray[np.float64]) -> nibabel.Nifti1Image:
    """A NIfTI image in memory, in mm, whose sform is ``affine``.

    Args:
        values: (i, j, k), stored in their own dtype.
        affine: (4, 4), voxel to RAS mm.

    Returns:
        nibabel's image, for ``write_nifti``.
    """
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    return image


def write_nifti(path: Path | str, image: nibabel.Nifti1Image) -> None:
    """Write an image whole or not at all.

    Args:
        path: Where to, ``.nii`` or ``.nii.gz``; its folder is made.
        image: What ``make_nifti`` gave.

    Raises:
        MedlangevinError: It cannot be written.
    """
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def write_volume(path: Path | str, hu: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write a synthetic ear, marked SYNTHETIC in the header.

    Args:
        path: Where to, ``.nii`` or ``.nii.gz``; its folder is made.
        hu: HU (i, j, k), rounded to int16 and clipped to its range.
        affine: (4, 4), voxel to RAS mm, for both sform and qform.

    Raises:
        MedlangevinError: It cannot be written.
    """
    limits = np.iinfo(np.int16)
    image = make_nifti(np.clip(np.rint(hu), limits.min, limits.max).astype(np.int16), affine)
    image.set_sform(affine, code="aligned")
    image.set_qform(affine, code="aligned")
    image.header["descrip"] = f"SYNTHETIC medlangevin {__version__}".encode()
    write_nifti(path, image)


def write_image(path: Path, image: "sitk.Image") -> None:
    """Write SimpleITK's image whole or not at all.

    ITK's NIfTI writer does not notice a full disk: it leaves a file that is cut short and raises nothing. So what was
    written is unpacked again; its end and check sum tell.

    Args:
        path: Where to, ``.nii.gz``.
        image: Any one-component image in LPS.

    Raises:
        MedlangevinError: It cannot be written, or was cut short.
    """
    import SimpleITK as sitk

    with atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise MedlangevinError(f"cannot write {path}; choose a folder you can write to") from error
        if _unpacked_size(temporary) < image.GetNumberOfPixels() * image.GetSizeOfPixelComponent():
            text = f"cannot write {path}: it was cut short (disk full?); make room, and run the same command again"
            raise MedlangevinError(text)


def _unpacked_size(path: Path) -> int:
    """Bytes; -1 where the packed data is cut short or damaged."""
    try:
        return len(gzip.decompress(path.read_bytes()))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return -1
