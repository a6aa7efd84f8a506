"""Compressed volume files that are whole on the disk."""

import gzip
import zlib
from pathlib import Path

import SimpleITK as sitk

from medlangevin.errors import MedlangevinError
from medlangevin.io import atomic_path


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
