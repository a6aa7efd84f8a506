"""What the truth says about an ear: measures of its surfaces, taken from the geometry itself."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medlangevin.cochlear_frame import MODIOLAR_AXIS_LPS, MODIOLUS_CENTRE_LPS, OVAL_WINDOW_LPS
from medlangevin.phantom import labyrinth
from medlangevin.phantom.duct import Duct, diameter, path_length, rise, wall_length
from medlangevin.phantom.frame import FloatArray, kabsch
from medlangevin.phantom.labyrinth import VESTIBULE, LabyrinthShape
from medlangevin.phantom.shape import MEAN_SHAPE, ShapeParameters

SIDES = 48
# Beyond this angle ears differ in where the duct ends, so that points there do not correspond.
COMMON_ANGLE_DEG = 720.0


class DuctMesh(NamedTuple):
    """A triangle mesh.

    Attributes:
        vertices: (n, 3), mm.
        faces: (m, 3) vertex numbers, seen from outside anticlockwise.
    """

    vertices: FloatArray
    faces: NDArray[np.integer]

    @property
    def corners(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The first, second and third corner (m, 3) of each triangle, mm."""
        return self.vertices[self.faces[:, 0]], self.vertices[self.faces[:, 1]], self.vertices[self.faces[:, 2]]

    @property
    def areas(self) -> FloatArray:
        """Surface (m,) of each triangle, mm2."""
        a, b, c = self.corners
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def duct_mesh(duct: Duct) -> DuctMesh:
    """Mesh the lumen's wall from the vestibule to the helicotrema, open at both ends.

    Args:
        duct: The duct.

    Returns:
        The mesh.
    """
    rings = duct.rings(SIDES)
    corner = np.arange((len(rings) - 1) * SIDES).reshape(-1, SIDES)
    beside = np.roll(corner, -1, axis=1)
    halves = [[corner, beside, beside + SIDES], [corner, beside + SIDES, corner + SIDES]]
    return DuctMesh(rings.reshape(-1, 3), np.stack(halves).transpose(0, 2, 3, 1).reshape(-1, 3))


def _closed(mesh: DuctMesh) -> DuctMesh:
    # Fans over the first and the last ring.
    total = len(mesh.vertices)
    ends = np.stack([mesh.vertices[:SIDES].mean(0), mesh.vertices[-SIDES:].mean(0)])
    start, stop = np.arange(SIDES), total - SIDES + np.arange(SIDES)
    first = np.stack([np.roll(start, -1), start, np.full(SIDES, total)], axis=1)
    last = np.stack([stop, np.roll(stop, -1), np.full(SIDES, total + 1)], axis=1)
    return DuctMesh(np.vstack([mesh.vertices, ends]), np.vstack([mesh.faces, first, last]))


def volume_and_centroid(mesh: DuctMesh) -> tuple[float, FloatArray]:
    """Volume within a duct's mesh, its ends closed, and the centre of that volume (divergence theorem).

    Args:
        mesh: As ``duct_mesh`` gives it.

    Returns:
        Volume (mm3) and centre (3,) (mm).
    """
    a, b, c = _closed(mesh).corners
    signed = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    return float(abs(signed.sum())), (signed[:, None] * (a + b + c) / 4).sum(0) / signed.sum()


def surface_centroid(mesh: DuctMesh) -> FloatArray:
    """Centre of the wall, by area.

    Args:
        mesh: The mesh.

    Returns:
        Centre (3,), mm.
    """
    return np.average(sum(mesh.corners) / 3, axis=0, weights=mesh.areas)


def section_area(duct: Duct, angle_deg: float) -> float:
    """Cross-section of the lumen at an angle.

    Args:
        duct: The duct.
        angle_deg: Angle from the round window, degrees.

    Returns:
        The area, mm2.
    """
    ring = duct.at(angle_deg).rings(180)[0]
    relative = ring - ring.mean(0)
    return float(np.linalg.norm(np.cross(relative, np.roll(relative, -1, axis=0)).sum(0)) / 2)


def section_diameter(duct: Duct, angle_deg: float) -> float:
    """Largest diameter of the lumen at an angle.

    Args:
        duct: The duct.
        angle_deg: Angle from the round window, degrees.

    Returns:
        The diameter, mm.
    """
    ring = duct.at(angle_deg).rings(180)[0]
    return float(np.linalg.norm(ring - np.roll(ring, 90, axis=0), axis=1).max())


def cochlear_measures(duct: Duct) -> dict[str, float]:
    """Measure a duct.

    Args:
        duct: The duct.

    Returns:
        Volume, surface, A, B, height, turns, lateral wall (whole, first turn), centre line, cross-sections, lumen
            diameter and principal extents, by name with unit.
    """
    mesh = duct_mesh(duct)
    spread = np.linalg.svd(mesh.vertices - mesh.vertices.mean(0), full_matrices=False)[2]
    extents = np.ptp(mesh.vertices @ spread.T, axis=0)
    return {
        "cochlea_volume_mm3": volume_and_centroid(mesh)[0],
        "cochlea_surface_mm2": float(mesh.areas.sum()),
        "a_value_mm": diameter(duct, 0.0),
        "b_value_mm": diameter(duct, 90.0),
        "height_mm": rise(duct),
        "turns": float(duct.angle_deg[-1]) / 360,
        "lateral_wall_mm": wall_length(duct),
        "lateral_wall_first_turn_mm": wall_length(duct, 360.0),
        "centre_line_mm": path_length(duct.centre_line()),
        "basal_cross_section_mm2": section_area(duct, 180.0),
        "apical_cross_section_mm2": section_area(duct, float(duct.angle_deg[-1])),
        "basal_lumen_diameter_mm": section_diameter(duct, 180.0),
        **{f"extent_{number}_mm": float(extent) for number, extent in enumerate(extents, start=1)},
    }


def _labyrinth_points(shape: LabyrinthShape) -> FloatArray:
    centres = np.stack([centre for centre, _ in labyrinth.sacs(shape)])
    return np.vstack([*(path[:, :3] for path in labyrinth.canals(shape)), centres])


def landmarks(duct: Duct, shape: LabyrinthShape) -> dict[str, FloatArray]:
    """Named points of an ear.

    Args:
        duct: The duct.
        shape: The rest of the labyrinth.

    Returns:
        Points (3,) in the ear's own frame, mm.
    """
    mesh = duct_mesh(duct)
    return {
        "cochlea_centroid": surface_centroid(mesh),
        "cochlea_volume_centroid": volume_and_centroid(mesh)[1],
        "cochlear_apex": duct.centre_line()[-1],
        "round_window": duct.at(0.0).lateral_wall()[0],
        "oval_window": VESTIBULE + shape.vestibule * (OVAL_WINDOW_LPS - VESTIBULE),
        "labyrinth_centroid": _labyrinth_points(shape).mean(0),
        "modiolus_centre": MODIOLUS_CENTRE_LPS,
        "modiolar_axis_point": MODIOLUS_CENTRE_LPS + MODIOLAR_AXIS_LPS,
    }


def cochlea_points(duct: Duct) -> FloatArray:
    """Wall points at the same angles from the round window in every ear, up to two turns.

    Args:
        duct: The duct.

    Returns:
        Points (n, 3), mm.
    """
    angles = np.arange(0.0, COMMON_ANGLE_DEG + 1, 15.0)
    return np.vstack([duct.at(float(angle)).rings(8)[0] for angle in angles])


def reference_to_ear(shape: ShapeParameters, duct: Duct, *, cochlea_only: bool) -> FloatArray:
    """The rigid motion that maps the average ear best onto this one, by least squares over corresponding points.

    Args:
        shape: The ear's shape.
        duct: The duct of that shape.
        cochlea_only: Put all weight on the cochlea, not half on it and half on vestibule and canals.

    Returns:
        4 x 4, determinant +1.
    """
    average = MEAN_SHAPE.duct()
    source, target = cochlea_points(average), cochlea_points(duct)
    if not cochlea_only:
        extra_source, extra_target = _labyrinth_points(MEAN_SHAPE.labyrinth), _labyrinth_points(shape.labyrinth)
        repeats = len(source) // len(extra_source)
        source = np.vstack([source, *[extra_source] * repeats])
        target = np.vstack([target, *[extra_target] * repeats])
    return kabsch(source, target)
