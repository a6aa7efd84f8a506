"""The anatomy as CT numbers (HU) on a grid in the reference frame, without blur or noise."""

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from medlangevin.phantom import labyrinth
from medlangevin.phantom.duct import Duct
from medlangevin.phantom.fields import VoxelGrid, add_duct, add_ellipsoid, add_tube
from medlangevin.phantom.frame import FloatArray
from medlangevin.phantom.labyrinth import LabyrinthShape
from medlangevin.phantom.surroundings import (
    Surroundings,
    mastoid_cells,
    mastoid_region,
    middle_ear,
    ossicles,
    soft_tissue,
)

AIR_HU = -1000.0
CAPSULE_MM = 1.8
CAPSULE_FADE_MM = 0.6


@dataclass(frozen=True)
class Tissues:
    """CT numbers (HU) of an ear.

    Attributes:
        fluid: Inside the labyrinth.
        soft_tissue: Vessels, brain and the internal auditory canal.
        nerve: The facial nerve.
        modiolus: The modiolus with the cochlear nerve.
        capsule: The otic capsule, the densest bone.
        petrous: The bone around it.
        ossicle: Malleus and incus.
        texture_sd_hu: Spread of the petrous bone's spongy pattern.
        texture_seed: Seed of that pattern; None for none.
    """

    fluid: float = 15.0
    soft_tissue: float = 45.0
    nerve: float = 250.0
    modiolus: float = 1150.0
    capsule: float = 2100.0
    petrous: float = 1430.0
    ossicle: float = 1900.0
    texture_sd_hu: float = 0.0
    texture_seed: int | None = None


@dataclass(frozen=True)
class Anatomy:
    """Everything that decides an ear's picture: the duct, the rest of the labyrinth, surroundings, tissues."""

    duct: Duct
    labyrinth: LabyrinthShape = field(default_factory=LabyrinthShape)
    surroundings: Surroundings = field(default_factory=Surroundings)
    tissues: Tissues = field(default_factory=Tissues)


def lumen_distance(anatomy: Anatomy, grid: VoxelGrid) -> FloatArray:
    """Signed distance of cochlea, vestibule and canals together.

    Args:
        anatomy: The ear.
        grid: Where it is worked out.

    Returns:
        mm, float32 of the grid's shape; exact near the wall.
    """
    lumen = grid.field()
    add_duct(lumen, grid, anatomy.duct)
    for centre, half in labyrinth.sacs(anatomy.labyrinth):
        add_ellipsoid(lumen, grid, centre, half)
    for path in labyrinth.canals(anatomy.labyrinth):
        add_tube(lumen, grid, path)
    return lumen


def _distance_to(inside: FloatArray, grid: VoxelGrid) -> FloatArray:
    # Only the slow fade of the capsule needs it, so every second voxel is enough.
    coarse = distance_transform_edt(inside[::2, ::2, ::2] > 0, sampling=2 * grid.spacing).astype(np.float32)
    factors = [n / m for n, m in zip(inside.shape, coarse.shape, strict=True)]
    return zoom(coarse, factors, order=1, grid_mode=True, mode="nearest")


def _bone(anatomy: Anatomy, grid: VoxelGrid, from_lumen: FloatArray) -> FloatArray:
    tissues = anatomy.tissues
    bone = grid.field(tissues.petrous)
    if tissues.texture_seed is not None:
        rng = np.random.default_rng(tissues.texture_seed)
        coarse = gaussian_filter(rng.standard_normal([n // 3 + 2 for n in grid.shape]).astype(np.float32), 1.3)
        pattern = zoom(coarse / coarse.std(), 3, order=1)[tuple(slice(0, n) for n in grid.shape)]
        bone += np.float32(tissues.texture_sd_hu) * pattern
    if anatomy.surroundings.cell_seed is None:
        # The average of many ears: neither cells nor walls.
        bone += mastoid_region(grid) * np.float32(-1.1 * anatomy.surroundings.pneumatisation * 1100)
    capsule = np.clip((CAPSULE_MM + CAPSULE_FADE_MM - from_lumen) / np.float32(CAPSULE_FADE_MM), 0, 1)
    bone += capsule * (np.float32(tissues.capsule) - bone)
    return bone


def render(anatomy: Anatomy, grid: VoxelGrid) -> FloatArray:
    """CT numbers of an ear, without blur and noise.

    Args:
        anatomy: The ear.
        grid: Where they are worked out.

    Returns:
        HU, float32 (x, y, z); a voxel that a surface cuts gets its share of each side.
    """
    tissues, around = anatomy.tissues, anatomy.surroundings
    lumen = lumen_distance(anatomy, grid)
    from_lumen = _distance_to(lumen, grid)
    hu = _bone(anatomy, grid, from_lumen)

    def fill(distance: FloatArray, value: float) -> None:
        # A voxel's share inside a surface that passes at this signed distance of its centre.
        share = np.clip(np.float32(0.5) - distance / np.float32(grid.spacing), 0, 1)
        np.add(hu, share * (np.float32(value) - hu), out=hu)

    fill(soft_tissue(grid, around), tissues.soft_tissue)
    fill(np.maximum(mastoid_cells(grid, around), np.float32(CAPSULE_MM) - from_lumen), AIR_HU)
    fill(np.maximum(middle_ear(grid, around), np.float32(0.55) - from_lumen), AIR_HU)
    fill(ossicles(grid, around), tissues.ossicle)
    for path, value in (
        (labyrinth.COCHLEAR_NERVE, tissues.modiolus),
        (labyrinth.FACIAL_NERVE, tissues.nerve),
        (labyrinth.INTERNAL_AUDITORY_CANAL, tissues.soft_tissue),
    ):
        tube = grid.field()
        add_tube(tube, grid, path)
        fill(tube, value)
    fill(lumen, tissues.fluid)
    return hu
