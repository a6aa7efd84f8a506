"""Whether the coil itself is where a registration puts it, not only its surroundings.

Vestibule, internal auditory canal, capsule and middle ear alone hold a registration in place and most of the crop's
correlation. So the coil is asked on its own, and in parts: it may be filled with bone, malformed or half missing.
"""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medlangevin.cochlear_frame import MODIOLAR_AXIS_LPS, SPIRAL_CENTRE_LPS, U_LPS, V_LPS
from medlangevin.imaging.registration.crop import Array, Grid, inside_scan, on_grid
from medlangevin.imaging.registration.reference import CLIP_HU, CROP_ORIGIN_MM, CROP_SIZE, CROP_SPACING_MM, Reference

SPACING_MM = 0.3
SIGMA_MM = 0.25
# A cylinder about the spiral's axis: the basal turn's beginning and all turns, no vestibule and no auditory canal.
RADIUS_MM = 4.4
HEIGHT_MM = (-1.3, 3.0)
QUARTERS = 4
# Flat regions have no variance to correlate with.
NOISE_FLOOR_HU = 60.0
MIN_COVERED = 0.5
MIN_CROP_COVERED = 0.25

_GRID = Grid(
    CROP_ORIGIN_MM, tuple(int((size - 1) * CROP_SPACING_MM / SPACING_MM) + 1 for size in CROP_SIZE), SPACING_MM
)


class CoilFigures(NamedTuple):
    """Correlations with the reference; -1 where less than half of the part lies inside the scan.

    Attributes:
        ncc: Over the coil.
        weakest_ncc: Over the worst quarter about its axis.
    """

    ncc: float
    weakest_ncc: float


class CoilCheck:
    """A reference's coil, prepared once."""

    def __init__(self, reference: Reference) -> None:
        self._reference = _smoothed(reference.image, np.eye(4))
        offset = _GRID.centres_mm - SPIRAL_CENTRE_LPS
        u, v, height = offset @ U_LPS, offset @ V_LPS, offset @ MODIOLAR_AXIS_LPS
        coil = (np.hypot(u, v) < RADIUS_MM) & (height > HEIGHT_MM[0]) & (height < HEIGHT_MM[1])
        quarter = np.floor((np.arctan2(v, u) / (2 * np.pi) + 0.5) * QUARTERS).astype(int) % QUARTERS
        self._parts = [coil] + [coil & (quarter == number) for number in range(QUARTERS)]

    def figures(self, scan: sitk.Image, matrix: Array) -> CoilFigures:
        """Correlate the coil of a scan with the reference's.

        Args:
            scan: HU in LPS.
            matrix: (4, 4), reference frame to LPS of the scan.

        Returns:
            The correlations over the whole coil and over its worst quarter.
        """
        seen = _smoothed(scan, matrix)
        inside = inside_scan(scan, matrix, _GRID)
        whole, *quarters = (self._correlation(seen, inside, part) for part in self._parts)
        return CoilFigures(whole, min(quarters))

    def crop_ncc(self, scan: sitk.Image, matrix: Array) -> float:
        """Correlate the part of the crop that lies inside a scan with the reference.

        Args:
            scan: HU in LPS.
            matrix: (4, 4), reference frame to LPS of the scan.

        Returns:
            The correlation; -1 where the part is less than a quarter.
        """
        inside = inside_scan(scan, matrix, _GRID)
        if inside.mean() < MIN_CROP_COVERED:
            return -1.0
        return self._correlation(_smoothed(scan, matrix), inside, inside)

    def _correlation(self, seen: NDArray[np.float32], inside: NDArray[np.bool_], part: NDArray[np.bool_]) -> float:
        used = part & inside
        if used.sum() < MIN_COVERED * part.sum():
            return -1.0
        first, second = (values[used] - values[used].mean() for values in (self._reference, seen))
        spread = np.sqrt((first @ first) * (second @ second + NOISE_FLOOR_HU**2 * len(second)))
        return float(first @ second / spread)


def _smoothed(scan: sitk.Image, matrix: Array) -> NDArray[np.float32]:
    hu = sitk.GetArrayFromImage(on_grid(scan, matrix, _GRID))
    return gaussian_filter(np.clip(hu, *CLIP_HU), SIGMA_MM / SPACING_MM)
