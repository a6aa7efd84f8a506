"""The reference ear and the crop grid in its frame.

The frame: LPS mm of a RIGHT ear (+x medial, +y posterior, +z superior), origin at the centroid of the cochlear lumen's
surface. Left ears are mirrored (x -> -x) into it.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.nifti import read_volume

CROP_SIZE = (60, 50, 50)
CROP_SPACING_MM = 0.2
CROP_ORIGIN_MM = tuple(
    centre - CROP_SPACING_MM * (size - 1) / 2 for centre, size in zip(CROP_CENTRE_LPS, CROP_SIZE, strict=True)
)
# Outside this range HU tell people apart (air in mastoid cells, teeth, metal), not places: clipped for matching.
CLIP_HU = (-200.0, 2200.0)
# Half-way between fluid (about 0 HU) and otic capsule (about 2000 HU): the wall of the lumen.
LUMEN_WALL_HU = 1000.0


@dataclass(frozen=True)
class Reference:
    """The image that all ears are registered to.

    Attributes:
        image: float32 HU, axis-aligned in the reference frame.
        digest: SHA-256 of the file.
    """

    image: sitk.Image
    digest: str


def load_reference(path: Path | None = None) -> Reference:
    """Read a reference image.

    Args:
        path: A NIfTI file in HU; without it the image of the package.

    Returns:
        The reference.

    Raises:
        MedlangevinError: The file does not exist, cannot be read, is not axis-aligned or does not cover the crop.
    """
    path = path or Path(str(resources.files("medlangevin.imaging.registration") / "data" / "reference.nii.gz"))
    if not path.is_file():
        raise MedlangevinError(f"reference image {path} does not exist; give a NIfTI file with --reference")
    try:
        hu, affine = read_volume(path)
    except MedlangevinError as error:
        raise MedlangevinError(f"reference image {path} cannot be read; give a NIfTI file in HU") from error
    in_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(in_lps[:3, :3], axis=0)
    if not np.allclose(in_lps[:3, :3] / spacing, np.eye(3), atol=1e-4):
        raise MedlangevinError(f"reference image {path} is not axis-aligned; resample it in the reference frame first")
    image = sitk.GetImageFromArray(hu.T)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(in_lps[:3, 3].tolist())
    low, high = in_lps[:3, 3], in_lps[:3, 3] + spacing * (np.array(hu.shape) - 1)
    crop_low = np.array(CROP_ORIGIN_MM)
    crop_high = crop_low + CROP_SPACING_MM * (np.array(CROP_SIZE) - 1)
    if (low > crop_low).any() or (high < crop_high).any():
        raise MedlangevinError(f"reference image {path} does not cover the crop; give a right ear at the origin")
    return Reference(image, hashlib.sha256(path.read_bytes()).hexdigest())


def clipped(image: sitk.Image, sigma_mm: float) -> sitk.Image:
    """Clip an image to the range that tells places apart, then smooth it.

    Args:
        image: HU.
        sigma_mm: Standard deviation of the smoothing.

    Returns:
        float32 HU.
    """
    values = sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, *CLIP_HU)
    return sitk.SmoothingRecursiveGaussian(values, [sigma_mm] * 3)
