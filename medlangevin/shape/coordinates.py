"""Modiolar coordinates of voxels, and the fixed surfaces that part the cochlea from its neighbours."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from medlangevin.cochlear_frame import MODIOLAR_AXIS_LPS, MODIOLUS_CENTRE_LPS, SPIRAL_CENTRE_UV, U_LPS, V_LPS

Array = NDArray[np.float64]

# Rows u, v, h: LPS offsets from the modiolus centre to modiolar coordinates.
_ROTATION: Final[Array] = np.stack([U_LPS, V_LPS, MODIOLAR_AXIS_LPS])

# The cut between cochlea and vestibule, a half-plane through the hook region. Chosen once so that volume and volume
# centroid of thresholded lumina agree with those of surfaces whose cochlear part was labelled.
VESTIBULE_CUT_POINT_UVH: Final[Array] = np.array([4.0, 1.0, 0.0])
# A unit vector towards the cochlea.
VESTIBULE_CUT_NORMAL_UVH: Final[Array] = np.array([-0.318, 0.380, 0.869]) / np.linalg.norm([-0.318, 0.380, 0.869])
VESTIBULE_CUT_OFFSET_MM: Final = -0.55
# It reaches from the vestibule to this u (mm) as v grows from -1 to 0.5 mm, short of the far end of the basal turn.
VESTIBULE_CUT_EDGE: Final = ((-1.0, 0.5), (3.1, 2.0))


def voxel_centres_lps(shape: tuple[int, ...], affine: Array) -> Array:
    """Positions of all voxels of a volume.

    Args:
        shape: The volume's shape.
        affine: Voxel to RAS mm (4, 4), as in NIfTI files.

    Returns:
        LPS mm (*shape, 3).
    """
    index = np.stack(np.meshgrid(*(np.arange(size, dtype=float) for size in shape), indexing="ij"), axis=-1)
    return voxels_to_lps(index, affine)


def voxels_to_lps(index: Array, affine: Array) -> Array:
    """Voxel coordinates to positions.

    Args:
        index: Voxel coordinates (..., 3).
        affine: Voxel to RAS mm (4, 4), as in NIfTI files.

    Returns:
        LPS mm (..., 3).
    """
    ras = index @ affine[:3, :3].T + affine[:3, 3]
    return np.asarray(ras * np.array([-1.0, -1.0, 1.0]))


def lps_to_voxels(points: Array, affine: Array) -> Array:
    """Positions to voxel coordinates.

    Args:
        points: LPS mm (..., 3).
        affine: Voxel to RAS mm (4, 4), as in NIfTI files.

    Returns:
        Voxel coordinates (..., 3).
    """
    inverse = np.linalg.inv(affine)
    return np.asarray((points * np.array([-1.0, -1.0, 1.0])) @ inverse[:3, :3].T + inverse[:3, 3])


def to_modiolar(points_lps: Array) -> Array:
    """Positions to modiolar coordinates.

    Args:
        points_lps: LPS mm (..., 3).

    Returns:
        (u, v, h) in mm (..., 3).
    """
    return np.asarray((points_lps - MODIOLUS_CENTRE_LPS) @ _ROTATION.T)


def from_modiolar(points_uvh: Array) -> Array:
    """Modiolar coordinates to positions.

    Args:
        points_uvh: (u, v, h) in mm (..., 3).

    Returns:
        LPS mm (..., 3).
    """
    return np.asarray(points_uvh @ _ROTATION + MODIOLUS_CENTRE_LPS)


def vestibule_cut_distance(points_uvh: Array) -> Array:
    """Distance to the cut between cochlea and vestibule.

    Args:
        points_uvh: Modiolar coordinates in mm (..., 3).

    Returns:
        mm (...,), positive on the cochlea's side; infinite where the half-plane does not reach.
    """
    distance = (points_uvh - VESTIBULE_CUT_POINT_UVH) @ VESTIBULE_CUT_NORMAL_UVH - VESTIBULE_CUT_OFFSET_MM
    return np.where(points_uvh[..., 0] > np.interp(points_uvh[..., 1], *VESTIBULE_CUT_EDGE), distance, np.inf)


def canal_distance(points_uvh: Array) -> Array:
    """Distance-like value to the zone of the internal auditory canal and the modiolus' base.

    The zone is a body about the modiolar axis just inside the inner wall of the basal turn: radius 1.6 mm at h = -0.6
    mm, narrowing to nothing at h = 0.2 mm, widening to 2.0 mm at h = -1.6 mm; everything below h = -2.3 mm. So fluid
    behind a porous modiolus is never counted as lumen.

    Args:
        points_uvh: Modiolar coordinates in mm (..., 3).

    Returns:
        mm (...,), negative in the zone.
    """
    radius, height = np.hypot(points_uvh[..., 0], points_uvh[..., 1]), points_uvh[..., 2]
    limit = np.interp(height, [-1.6, -0.6, 0.2], [2.0, 1.6, 0.0])
    return np.minimum(np.where(limit > 0, radius - limit, np.inf), height + 2.3)


def reach_distance(points_uvh: Array) -> Array:
    """Distance-like value to where a cochlea can be at all: about 1 mm wider than the widest known.

    It is a cylinder about the spiral's centre of radius 5.2 mm (6.8 mm towards the round window), up to h = 4.2 mm.

    Args:
        points_uvh: Modiolar coordinates in mm (..., 3).

    Returns:
        mm (...,), positive inside.
    """
    offset = points_uvh[..., :2] - SPIRAL_CENTRE_UV
    towards_window = (offset[..., 0] > 0) & (offset[..., 1] > 0)
    side = np.where(towards_window, 6.8, 5.2) - np.hypot(offset[..., 0], offset[..., 1])
    return np.minimum(side, 4.2 - points_uvh[..., 2])
