"""What lies about the labyrinth: middle ear, ossicles, mastoid cells, carotid canal, brain side of the petrous bone."""

from dataclasses import dataclass

import numpy as np

from medlangevin.phantom.fields import VoxelGrid, add_balls, add_ellipsoid, add_tube
from medlangevin.phantom.frame import FloatArray, rotation_matrix

# Air of the middle ear, ellipsoids: centre, semi-axes, turn about z (deg).
_TYMPANIC_CAVITY = [
    ((-7.7, -1.0, -6.2), (3.0, 4.4, 3.1), 0.0),
    ((-8.4, -0.5, -1.8), (3.2, 5.1, 5.1), 8.0),
    ((-8.5, -1.2, 1.6), (2.5, 2.6, 3.0), 0.0),
    ((-10.1, -0.9, 5.2), (2.6, 4.1, 3.2), 0.0),
    ((-12.5, 5.0, 6.5), (3.0, 5.5, 2.5), 0.0),
]
_EUSTACHIAN_TUBE = np.array(
    [(-8.2, -3.4, 0.1, 2.4), (-7.1, -6.4, -0.4, 1.6), (-5.6, -9.1, -1.2, 1.4), (-4.0, -13.0, -3.0, 0.9)]
)
_EAR_CANAL = np.array([(-15.0, -0.4, -2.6, 3.4), (-18.0, 0.2, -2.2, 3.4), (-22.0, 1.0, -1.6, 3.6)])
_WINDOW_NICHE = np.array([(-7.0, 2.8, -0.7, 1.9), (-5.9, 3.8, -1.1, 0.9), (-5.0, 4.3, -1.2, 0.55)])
_OVAL_NICHE = np.array([(-5.9, 0.5, -0.5, 0.9), (-5.4, 2.2, 0.5, 0.75), (-5.5, 2.3, 1.5, 0.5)])
_OSSICLES = [
    np.array([(-10.4, -0.9, 5.6, 1.2), (-10.6, -1.2, 3.2, 0.7), (-10.6, -1.0, 0.8, 0.45), (-10.0, -0.6, -1.6, 0.4)]),
    np.array([(-10.4, 0.9, 5.4, 1.3), (-9.8, 1.4, 3.6, 0.55), (-8.6, 1.4, 1.6, 0.4), (-7.4, 1.6, 1.3, 0.35)]),
]
_CAROTID = np.array(
    [
        (-5.4, -5.7, -14.0, 2.5), (-2.8, -6.2, -9.5, 2.3), (-1.9, -6.9, -7.8, 2.4), (1.9, -9.0, -5.5, 2.4),
        (6.0, -13.0, -4.5, 2.6),
    ]
)  # fmt: skip
_JUGULAR = np.array([(-5.0, 9.0, -13.0, 4.0), (-4.0, 6.5, -11.5, 3.4)])
MASTOID_CENTRE = np.array([-14.0, 10.0, 0.5])
MASTOID_SEMI_AXES = np.array([6.2, 8.5, 13.0])


@dataclass(frozen=True)
class Surroundings:
    """How an ear's surroundings differ.

    Attributes:
        cavity_shift: Shift of the middle ear, mm.
        cavity_size: Relative size of its air cavity.
        roof_mm: Shift of the petrous bone's roof, mm.
        posterior_mm: Shift of its posterior face, mm.
        pneumatisation: Share of the mastoid that is air, 0 to 1.
        cell_seed: Seed of the mastoid cells; None for none.
    """

    cavity_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cavity_size: float = 1.0
    roof_mm: float = 0.0
    posterior_mm: float = 0.0
    pneumatisation: float = 0.6
    cell_seed: int | None = None


def middle_ear(grid: VoxelGrid, surroundings: Surroundings) -> FloatArray:
    """Signed distance of the middle-ear air without the mastoid.

    Args:
        grid: Where it is worked out.
        surroundings: How the ear differs.

    Returns:
        mm, float32 of the grid's shape.
    """
    air = grid.field()
    shift, size = np.asarray(surroundings.cavity_shift), surroundings.cavity_size
    for centre, half, turn in _TYMPANIC_CAVITY:
        turned = rotation_matrix(np.array([0, 0, turn]))
        add_ellipsoid(air, grid, shift + centre, size * np.asarray(half), turned)
    moved = [path + np.r_[shift, 0.0] for path in (_EUSTACHIAN_TUBE, _EAR_CANAL)]
    for path in (*moved, _WINDOW_NICHE, _OVAL_NICHE):
        add_tube(air, grid, path)
    return air


def ossicles(grid: VoxelGrid, surroundings: Surroundings) -> FloatArray:
    """Signed distance of malleus and incus.

    Args:
        grid: Where it is worked out.
        surroundings: How the ear differs.

    Returns:
        mm, float32 of the grid's shape.
    """
    bones = grid.field()
    for path in _OSSICLES:
        add_tube(bones, grid, path + np.r_[surroundings.cavity_shift, 0.0])
    return bones


def mastoid_cells(grid: VoxelGrid, surroundings: Surroundings) -> FloatArray:
    """Signed distance of the mastoid air cells: random balls in the mastoid, apart by thin walls.

    Args:
        grid: Where it is worked out.
        surroundings: How the ear differs.

    Returns:
        mm, float32 of the grid's shape.
    """
    cells = grid.field()
    if surroundings.cell_seed is None:
        return cells
    rng = np.random.default_rng(surroundings.cell_seed)
    offsets = rng.uniform(-1, 1, (int(2500 * surroundings.pneumatisation), 3))
    offsets = offsets[np.linalg.norm(offsets, axis=1) < 1]
    centres = MASTOID_CENTRE + offsets * MASTOID_SEMI_AXES
    kept, radii = np.empty((0, 3)), np.empty(0)
    for centre, radius in zip(centres, rng.uniform(0.4, 1.5, len(centres)), strict=True):
        free = np.min(np.linalg.norm(kept - centre, axis=1) - radii, initial=9.0) - 0.15
        if free > 0.3:
            kept, radii = np.vstack([kept, centre]), np.r_[radii, min(radius, free)]
    add_balls(cells, grid, kept, radii, margin=0.4)
    return cells


def mastoid_region(grid: VoxelGrid) -> FloatArray:
    """The part of the bone that air cells loosen, with a soft border.

    Args:
        grid: Where it is worked out.

    Returns:
        0 outside to 1 inside, float32 of the grid's shape.
    """
    along = zip(grid.axes(), MASTOID_CENTRE, MASTOID_SEMI_AXES, strict=True)
    scaled = sum(((coordinate - centre) / half) ** 2 for coordinate, centre, half in along)
    return np.clip((1.15 - np.sqrt(scaled)) / 0.3, 0, 1).astype(np.float32)


def soft_tissue(grid: VoxelGrid, surroundings: Surroundings) -> FloatArray:
    """Signed distance of vessels and of the cranial cavity behind and above the petrous bone.

    Args:
        grid: Where it is worked out.
        surroundings: How the ear differs.

    Returns:
        mm, float32 of the grid's shape.
    """
    tissue = grid.field()
    for path in (_CAROTID, _JUGULAR):
        add_tube(tissue, grid, path)
    x, y, z = grid.axes()
    # Along each normal: a plane, and how it curves away from the petrous ridge.
    behind = 0.888 * (y - 9.4 - np.float32(surroundings.posterior_mm)) + 0.46 * (x - 4.5) + 0.004 * (z - 2) ** 2
    above = z - 9.7 - np.float32(surroundings.roof_mm) + 0.13 * (x + 2) - 0.11 * (y - 3)
    above = above + 0.014 * (y - 3) ** 2 + 0.008 * (x + 2) ** 2
    np.minimum(tissue, -behind, out=tissue)
    np.minimum(tissue, -above, out=tissue)
    return tissue
