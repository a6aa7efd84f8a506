"""What a volume file's header claims, weighed against the length of the file before memory is set aside for it."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import atomic_path

# gzip packs at most 1032 bytes in one.
MOST_PACKED = 1032
# A crop has 150,000 voxels; 512 x 512 x 512 of them are none, whatever the file's length.
MOST_CROP_VOXELS = 2**27


def can_hold(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether a file of this length, packed or not, can hold so many voxels. Raises OSError where there is none."""
    return min(shape, default=0) > 0 and math.prod(shape) * bytes_a_voxel <= MOST_PACKED * path.stat().st_size


def can_be_crop(path: Path, shape: Sequence[int], bytes_a_voxel: int) -> bool:
    """Whether it can, and the voxels are few enough for a crop."""
    return math.prod(shape) <= MOST_CROP_VOXELS and can_hold(path, shape, bytes_a_voxel)


def write_image(path: Path, image: sitk.Image) -> None:
    """Write ``path`` (.nii.gz) whole or not at all. Raises MedlangevinError when it cannot be written.

    ITK's NIfTI writer does not notice a full disk: it leaves a file that is cut short and raises nothing. So what was
    written is unpacked again; its end and check sum tell.
    """
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
