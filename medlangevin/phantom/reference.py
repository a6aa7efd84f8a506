"""The image all ears are registered to: the average phantom ear as CT, without noise.

``python -m medlangevin.phantom.reference`` writes it into the package (medlangevin/imaging/registration/data).
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medlangevin.phantom.fields import VoxelGrid
from medlangevin.phantom.render import Anatomy, render
from medlangevin.phantom.shape import MEAN_SHAPE
from medlangevin.system.nifti import make_nifti, write_nifti

LOW_MM, HIGH_MM, SPACING_MM = np.array([-17.0, -15.0, -13.0]), np.array([17.0, 19.0, 15.0]), 0.25
PSF_SIGMA_MM = 0.2


def reference_volume() -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Render the reference.

    Returns:
        HU (x, y, z), int16, and the 4 x 4 matrix from voxel indices to LPS mm.
    """
    grid = VoxelGrid.around(LOW_MM, HIGH_MM, SPACING_MM)
    hu = gaussian_filter(render(Anatomy(MEAN_SHAPE.duct()), grid), PSF_SIGMA_MM / SPACING_MM)
    matrix = np.diag([SPACING_MM] * 3 + [1.0])
    matrix[:3, 3] = grid.origin
    return np.round(hu).astype(np.int16), matrix


def write_reference(path: Path) -> None:
    """Write the reference as NIfTI (RAS on disk), byte for byte the same each time.

    Args:
        path: Where to, ``.nii`` or ``.nii.gz``.
    """
    hu, lps = reference_volume()
    write_nifti(path, make_nifti(hu, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps))


if __name__ == "__main__":
    write_reference(Path(str(files("medlangevin.imaging.registration") / "data" / "reference.nii.gz")))
